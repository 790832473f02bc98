// Threads for requests that are too large to be read on an I/O thread. Private to this room.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "base/queue.h"

namespace tidemill::oip {

// Any thread may submit. At the end what was taken is still done.
class Offload {
 public:
  Offload(std::size_t threads, std::size_t waiting_max) : queue_(waiting_max) {
    for (std::size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this] {
        while (auto task = queue_.pop()) (*task)();
      });
    }
  }
  ~Offload() {
    queue_.close();
    for (auto& thread : threads_) thread.join();
  }
  Offload(const Offload&) = delete;
  Offload& operator=(const Offload&) = delete;

  // Takes the task, or returns false when too many wait.
  [[nodiscard]] bool submit(std::function<void()>&& task) { return queue_.try_push(std::move(task)); }

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;  // last
};

}  // namespace tidemill::oip
