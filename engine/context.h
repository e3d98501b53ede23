#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "engine/device.h"

namespace fulmar {

// What a process shares: the thread pool, the log callback, the cancel flag, the opened devices.
// The library never prints, exits or takes a signal; it calls `log` and looks at `cancel`.
class FULMAR_API Context {
 public:
  struct Options {
    int threads = 0;                                // 0: one per processor
    std::function<void(const std::string&)> log{};  // notes for people; none by default
  };

  Context();
  explicit Context(Options options);

  // "cpu", or "reference" (float64, slow: the oracle of the tests). Error(device) for another name.
  Device& device(const std::string& name);
  ThreadPool& pool() { return pool_; }
  void log(const std::string& message) const {
    if (options_.log) options_.log(message);
  }

  // Set from any thread or signal handler: a running Session stops between two nodes with
  // Error(cancelled).
  std::atomic<bool> cancel{false};

 private:
  Options options_;
  ThreadPool pool_;
  Device cpu_, reference_;
};

}  // namespace fulmar
