#pragma once
namespace grafo::detail {

// Destroys an object by its dispose(), without recursion though that may bury others of its type:
// they are linked by their `next`.
template <class T>
void bury(T& object) noexcept {
    static thread_local T* first = nullptr;
    static thread_local bool digging = false;
    object.next = first;
    first = &object;
    if (digging) return;
    digging = true;
    while (first != nullptr) {
        T& dying = *first;
        first = dying.next;
        dying.dispose();
    }
    digging = false;
}

}  // namespace grafo::detail
