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

// What does not depend on the type of the members.
class LinkHead {
public:
    LinkHead() noexcept { clear_head(); }
    LinkHead(const LinkHead&) = delete;
    LinkHead& operator=(const LinkHead&) = delete;
    ~LinkHead() {
        while (!empty()) head_.next->unlink();
        head_.next = nullptr;
    }
    [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }

    // Moves everything of `other` to the end of this list.
    void splice_back(LinkHead& other) noexcept {
        if (other.empty()) return;
        Link& last = *head_.prev;
        last.next = other.head_.next;
        other.head_.next->prev = &last;
        other.head_.prev->next = &head_;
        head_.prev = other.head_.prev;
        other.clear_head();
    }

protected:
    static void insert_before(Link& position, Link& item) noexcept {
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

// The head of such a list. T derives from Link; the list owns nothing.
template <class T>
class LinkList : public LinkHead {
public:
    [[nodiscard]] T& front() const noexcept { return static_cast<T&>(*head_.next); }

    void push_back(T& item) noexcept { insert_before(head_, item); }
    void push_front(T& item) noexcept { insert_before(*head_.next, item); }

    // Calls visit(item) on each; the item visited may leave the list, others may not.
    template <class Visit>
    void for_each(Visit&& visit) const {
        for (Link* link = head_.next; link != &head_;) {
            Link* next = link->next;
            visit(static_cast<T&>(*link));
            link = next;
        }
    }
};

}  // namespace grafo::detail
