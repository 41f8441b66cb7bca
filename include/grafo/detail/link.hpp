#pragma once

namespace grafo::detail {

// A member of a circular intrusive list that leaves its list when it is destroyed, so that a
// coroutine frame may be destroyed wherever it is suspended.
struct Link {
    Link() noexcept = default;
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    ~Link() { unlink(); }

    [[nodiscard]] bool linked() const noexcept { return next != nullptr; }

    void unlink() noexcept {
        if (next == nullptr) return;
        prev->next = next;
        next->prev = prev;
        prev = nullptr;
        next = nullptr;
    }

    Link* prev = nullptr;
    Link* next = nullptr;
};

// The head of such a list. T derives from Link; the list owns nothing.
template <class T>
class LinkList {
public:
    LinkList() noexcept { clear_head(); }
    LinkList(const LinkList&) = delete;
    LinkList& operator=(const LinkList&) = delete;
    ~LinkList() {
        while (!empty()) head_.next->unlink();
        head_.next = nullptr;
    }

    [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
    [[nodiscard]] T& front() const noexcept { return static_cast<T&>(*head_.next); }

    void push_back(T& item) noexcept { insert_before(head_, item); }
    void push_front(T& item) noexcept { insert_before(*head_.next, item); }

    // Moves everything of `other` to the end of this list.
    void splice_back(LinkList& other) noexcept {
        if (other.empty()) return;
        Link& last = *head_.prev;
        last.next = other.head_.next;
        other.head_.next->prev = &last;
        other.head_.prev->next = &head_;
        head_.prev = other.head_.prev;
        other.clear_head();
    }

    // Calls visit(item) on each; the item visited may leave the list, others may not.
    template <class Visit>
    void for_each(Visit&& visit) const {
        for (Link* link = head_.next; link != &head_;) {
            Link* next = link->next;
            visit(static_cast<T&>(*link));
            link = next;
        }
    }

private:
    static void insert_before(Link& position, T& inserted) noexcept {
        Link& item = inserted;
        item.prev = position.prev;
        item.next = &position;
        position.prev->next = &item;
        position.prev = &item;
    }
    void clear_head() noexcept {
        head_.prev = &head_;
        head_.next = &head_;
    }

    Link head_;
};

}  // namespace grafo::detail
