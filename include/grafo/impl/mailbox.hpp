#pragma once
#include <utility>

#include <grafo/detail/inline.hpp>
#include <grafo/detail/mailbox.hpp>

namespace grafo::detail {

GRAFO_INLINE void Mailbox::post(Mail& mail) noexcept {
    {
        const LockGuard lock(mutex_);
        if (reactor_ != nullptr) {
            mail.next_mail = nullptr;
            *last_ = &mail;
            last_ = &mail.next_mail;
            filled_.store(true, std::memory_order_release);
            if (sleeping_) reactor_->wake();
            return;
        }
    }
    if (mail.discard != nullptr) mail.discard(mail);
}

GRAFO_INLINE void Mailbox::deliver() {
    for (Mail* mail = take(); mail != nullptr;) {
        Mail* next = mail->next_mail;  // delivered, the mail may be gone
        mail->deliver(*mail);
        mail = next;
    }
}

GRAFO_INLINE void Mailbox::wait(const Reactor::TimePoint* deadline) {
    if (!fall_asleep()) return;
    reactor_->wait(deadline);
    wake_up();
}

GRAFO_INLINE bool Mailbox::fall_asleep() noexcept {
    const LockGuard lock(mutex_);
    sleeping_ = first_ == nullptr;
    return sleeping_;
}

GRAFO_INLINE void Mailbox::wake_up() noexcept {
    const LockGuard lock(mutex_);
    sleeping_ = false;
}

GRAFO_INLINE void Mailbox::set_reactor(Reactor& reactor) noexcept {
    const LockGuard lock(mutex_);
    reactor_ = &reactor;
}

GRAFO_INLINE void Mailbox::close() noexcept {
    {
        const LockGuard lock(mutex_);
        reactor_ = nullptr;
    }
    for (Mail* mail = take(); mail != nullptr;) {
        Mail* next = mail->next_mail;
        if (mail->discard != nullptr) mail->discard(*mail);
        mail = next;
    }
}

GRAFO_INLINE Mail* Mailbox::take() noexcept {
    const LockGuard lock(mutex_);
    Mail* mail = std::exchange(first_, nullptr);
    last_ = &first_;
    filled_.store(false, std::memory_order_relaxed);
    return mail;
}

}  // namespace grafo::detail
