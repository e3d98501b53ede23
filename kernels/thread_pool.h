#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/api.h"

namespace fulmar {

// Threads that share out numbered tasks. A task's results must depend on its number alone, never on
// the worker or the number of threads: then any number of threads gives the same bits.
class FULMAR_API ThreadPool {
 public:
  // threads <= 0: as many as the affinity mask and the control groups' quotas of processor time
  // give. The calling thread is one of them.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(task, worker) for every task in [0, tasks), worker in [0, threads()); returns when
  // all are done. The first exception thrown by a task is rethrown here. Calls from several threads
  // run one after the other; a call from inside a task runs its tasks on that task's thread.
  template <class Body>
  void run(int64_t tasks, const Body& body) {
    run_erased(tasks, &body, [](const void* b, int64_t task, int worker) {
      (*static_cast<const Body*>(b))(task, worker);
    });
  }

  // Memory of a worker, at least `bytes` long and 64-byte aligned; the pool keeps it from call to
  // call. A worker has one piece only: a task asks for all its memory at once.
  void* scratch(int worker, size_t bytes);

 private:
  using Call = void (*)(const void* body, int64_t task, int worker);
  void run_erased(int64_t tasks, const void* body, Call call);
  void stop();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fulmar
