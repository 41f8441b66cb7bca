#pragma once
#include <atomic>
#include <cstdint>
#include <new>
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/detail/wait_room.hpp>

namespace grafo::detail {

GRAFO_INLINE bool WaitRoom::advance_in(const Shared<Mailbox>& home) noexcept {
    if (letter_ != nullptr && letter_->home == home) return true;
    auto* letter = new (std::nothrow) Letter(*this, home);
    if (letter == nullptr) return true;  // whoever comes or leaves next tries again
    letter_ = letter;
    home->post(*letter);
    return letter_ != nullptr;  // discarded at once if it cannot be delivered
}

GRAFO_INLINE std::uint64_t WaitRoom::next_id() noexcept {
    static constinit std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

GRAFO_INLINE void WaitRoom::set_user(Mailbox* mailbox) noexcept {
    if (mailbox == user_) return;
    if (mailbox != nullptr) mailbox->hold();
    if (user_ != nullptr && user_->let_go()) delete user_;
    user_ = mailbox;
}

GRAFO_INLINE void WaitRoom::Letter::arrive(Mail& mail) {
    const Shared<WaitRoom> room = open(mail);
    room->advance();
}

GRAFO_INLINE void WaitRoom::Letter::drop(Mail& mail) { open(mail); }

GRAFO_INLINE Shared<WaitRoom> WaitRoom::Letter::open(Mail& mail) noexcept {
    const Owned<Letter> self(&static_cast<Letter&>(mail));
    if (self->room->letter_ == self.get()) self->room->letter_ = nullptr;
    return std::move(self->room);
}

}  // namespace grafo::detail
