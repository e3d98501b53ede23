#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"

namespace fulmar {

// Thread pool, log callback, cancel flag, opened devices. Threads may share one; they take turns at
// its pool. The library never prints, exits or takes a signal; it calls `log`, looks at `cancel`.
class FULMAR_API Context {
 public:
  struct Options {
    int threads = 0;                                // 0: as ThreadPool chooses
    std::function<void(const std::string&)> log{};  // notes for people; none by default
  };

  Context();
  explicit Context(Options options);
  ~Context();

  // "cpu"; "reference" (float64, slow: the oracle of the tests); "cuda" or "cuda:N", GPU number N,
  // for the calling thread; "auto": the first usable GPU, else the CPU. Where the CUDA backend is
  // there and no GPU is usable, "auto" logs why. Without a precision: bf16 on a GPU, fp32 on the
  // CPU, which has bf16 too. Error(device) names the missing part; Error(usage) where the device
  // lacks the precision.
  Device& device(const std::string& name, std::optional<Precision> precision = {});
  ThreadPool& pool() { return pool_; }
  void log(const std::string& message) const {
    if (options_.log) options_.log(message);
  }

  // Set from any thread or signal handler: a running Session stops between two nodes with
  // Error(cancelled).
  std::atomic<bool> cancel{false};

 private:
  struct Gpu;
  Device& cpu(std::optional<Precision> precision);
  Device& gpu(const std::string& name, Precision precision);
  Device& gpu_or_cpu(std::optional<Precision> precision);

  Options options_;
  ThreadPool pool_;
  Device cpu_, cpu_bf16_, reference_;
  std::mutex mutex_;  // of what follows
  std::vector<std::unique_ptr<Gpu>> gpus_;
};

}  // namespace fulmar
