#include "kernels/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "kernels/error.h"
#include "kernels/processors.h"

namespace fulmar {

namespace {

// How often a thread looks for work, or for the end of it, before it sleeps: some 10 to 50 us,
// longer than the gap between two kernels and than a wake-up through the kernel.
constexpr int spins = 1000;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Waits until `value` is no longer `old`.
void wait_while(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < spins; i++) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

// A job is open while its ticket's lower half, the next task's number, is below `closed`.
constexpr uint64_t closed = 0xFFFFFFFF;
constexpr int64_t tasks_per_job = int64_t{1} << 30;

constexpr uint64_t ticket(uint32_t job, uint64_t task) { return uint64_t{job} << 32 | task; }
constexpr uint64_t task_of(uint64_t ticket) { return ticket & closed; }

}  // namespace

struct ThreadPool::State {
  struct alignas(64) Scratch {
    void* data = nullptr;
    size_t bytes = 0;

    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { release(); }
    void release() {
      if (data) ::operator delete (data, std::align_val_t{64});
      data = nullptr;
      bytes = 0;
    }
  };

  // The current job. A worker reads these fields, then claims a task by raising the ticket that it
  // saw before: success means that they belong to that ticket's job, since they change only between
  // a store of a closed ticket and one of the next job's.
  std::atomic<const void*> body{nullptr};
  std::atomic<Call> call{nullptr};
  std::atomic<int64_t> first{0};
  std::atomic<uint64_t> tasks{0};
  std::atomic<uint64_t> next{ticket(0, closed)};

  std::atomic<uint32_t> job{0};         // counts jobs; workers sleep on it
  std::atomic<uint32_t> unfinished{0};  // tasks of this job; the caller sleeps on it
  std::atomic<bool> stop{false};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;  // guarded by failure_mutex
  std::mutex failure_mutex;

  std::mutex caller;  // one run at a time
  std::vector<Scratch> scratch;
  std::vector<std::thread> threads;

  explicit State(int count) : scratch(static_cast<size_t>(count)) {}

  void work(int worker);
  void work_until_stopped(int worker);
  void run_job(int64_t first_task, uint32_t count, const void* b, Call c);
};

namespace {

// What the current thread is doing: the task of which pool, as which worker.
struct Doing {
  const void* pool = nullptr;
  int worker = 0;
};
thread_local Doing doing;

class DoingScope {
 public:
  DoingScope(const void* pool, int worker) : before_(doing) { doing = {pool, worker}; }
  ~DoingScope() { doing = before_; }
  DoingScope(const DoingScope&) = delete;
  DoingScope& operator=(const DoingScope&) = delete;

 private:
  Doing before_;
};

}  // namespace

// Claims and runs tasks of the open job until none is left.
void ThreadPool::State::work(int worker) {
  const DoingScope scope(this, worker);
  for (;;) {
    uint64_t seen = next.load(std::memory_order_acquire);
    if (task_of(seen) == closed) return;
    const void* const b = body.load(std::memory_order_acquire);
    const Call c = call.load(std::memory_order_acquire);
    const int64_t begin = first.load(std::memory_order_acquire);
    if (task_of(seen) >= tasks.load(std::memory_order_acquire)) return;
    if (!next.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel)) continue;
    if (!failed.load(std::memory_order_relaxed)) {
      try {
        c(b, begin + static_cast<int64_t>(task_of(seen)), worker);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        failed.store(true, std::memory_order_relaxed);
      }
    }
    if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_one();
  }
}

void ThreadPool::State::work_until_stopped(int worker) {
  uint32_t seen = 0;
  for (;;) {
    wait_while(job, seen);
    if (stop.load(std::memory_order_acquire)) return;
    seen = job.load(std::memory_order_acquire);
    work(worker);
  }
}

void ThreadPool::State::run_job(int64_t first_task, uint32_t count, const void* b, Call c) {
  const uint32_t number = job.load(std::memory_order_relaxed) + 1;
  body.store(b, std::memory_order_release);
  call.store(c, std::memory_order_release);
  first.store(first_task, std::memory_order_release);
  tasks.store(count, std::memory_order_release);
  unfinished.store(count, std::memory_order_release);
  next.store(ticket(number, 0), std::memory_order_release);
  job.store(number, std::memory_order_release);
  job.notify_all();
  work(0);
  for (uint32_t left; (left = unfinished.load(std::memory_order_acquire)) != 0;)
    wait_while(unfinished, left);
  next.store(ticket(number, closed), std::memory_order_release);
}

ThreadPool::ThreadPool(int threads) {
  const int count = threads > 0 ? threads : processor_share().threads();
  state_ = std::make_unique<State>(count);
  try {
    for (int worker = 1; worker < count; worker++)
      state_->threads.emplace_back(
          [state = state_.get(), worker] { state->work_until_stopped(worker); });
  } catch (const std::system_error& error) {
    stop();
    device_error("could not start thread " + std::to_string(state_->threads.size() + 2) + " of " +
                 std::to_string(count) + " (" + error.what() + "): ask for fewer threads");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  state_->stop.store(true, std::memory_order_release);
  state_->job.fetch_add(1, std::memory_order_acq_rel);
  state_->job.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
  state_->threads.clear();
}

int ThreadPool::threads() const { return static_cast<int>(state_->scratch.size()); }

void ThreadPool::run_erased(int64_t tasks, const void* body, Call call) {
  if (doing.pool == state_.get()) {  // from inside a task: on its thread, as its worker
    for (int64_t task = 0; task < tasks; task++) call(body, task, doing.worker);
    return;
  }
  if (tasks <= 0) return;
  const std::lock_guard lock(state_->caller);
  if (tasks == 1 || threads() == 1) {
    const DoingScope scope(state_.get(), 0);
    for (int64_t task = 0; task < tasks; task++) call(body, task, 0);
    return;
  }
  for (int64_t task = 0; task < tasks && !state_->failed; task += tasks_per_job)
    state_->run_job(task, static_cast<uint32_t>(std::min(tasks - task, tasks_per_job)), body, call);
  if (state_->failed.exchange(false)) {
    std::exception_ptr failure;
    std::swap(failure, state_->failure);
    std::rethrow_exception(failure);
  }
}

void* ThreadPool::scratch(int worker, size_t bytes) {
  State::Scratch& piece = state_->scratch[static_cast<size_t>(worker)];
  if (piece.bytes < bytes) {
    piece.release();
    piece.data = ::operator new (bytes, std::align_val_t{64}, std::nothrow);
    if (!piece.data)
      device_error("out of memory: " + std::to_string(bytes) + " bytes of scratch for worker " +
                   std::to_string(worker));
    piece.bytes = bytes;
  }
  return piece.data;
}

}  // namespace fulmar
