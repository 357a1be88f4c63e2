//! epoll always tells of a reset, by EPOLLERR (epoll_ctl(2)): no connection needs a timer.

/// Never returns.
pub(in crate::pump) async fn before_a_look() {
    std::future::pending().await
}
