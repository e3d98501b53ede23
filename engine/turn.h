#pragma once

#include <atomic>
#include <string>

#include "kernels/error.h"

namespace fulmar {

// One thread's use of an object that serves one thread at a time. Error(usage) during another use.
class Turn {
 public:
  Turn(std::atomic<bool>& busy, const char* what) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire))
      usage_error(std::string(what) +
                  " was used by two threads at once: give each its own, or let them take turns");
  }
  ~Turn() { busy_.store(false, std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& busy_;
};

}  // namespace fulmar
