#include "kernels/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/error.h"

using fulmar::ThreadPool;

TEST_CASE("a pool runs every task exactly once, for any number of threads and tasks") {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (int64_t tasks : {0, 1, 2, 3, 7, 64, 1000}) {
      std::vector<std::atomic<int>> ran(static_cast<size_t>(tasks));
      std::atomic<bool> bad_worker{false};
      pool.run(tasks, [&](int64_t task, int worker) {
        ran[static_cast<size_t>(task)]++;
        if (worker < 0 || worker >= threads) bad_worker = true;
      });
      int64_t once = 0;
      for (const auto& count : ran) once += count == 1;
      CHECK(once == tasks);
      CHECK_FALSE(bad_worker);
    }
  }
}

TEST_CASE("a pool of unspecified size has at least one thread") {
  CHECK(ThreadPool().threads() >= 1);
  CHECK(ThreadPool(-3).threads() >= 1);
}

TEST_CASE("what tasks write is seen after the run, run after run") {
  ThreadPool pool(3);
  std::vector<int64_t> values(257);
  for (int64_t round = 1; round <= 2000; round++) {
    pool.run(static_cast<int64_t>(values.size()),
             [&](int64_t task, int) { values[static_cast<size_t>(task)] += task; });
    if (round % 500 == 0) {
      for (size_t i = 0; i < values.size(); i++)
        REQUIRE(values[i] == static_cast<int64_t>(i) * round);
    }
  }
}

TEST_CASE("a worker that comes late takes no task of the wrong run") {
  // Runs of different lengths and bodies follow each other while workers go to sleep and wake up.
  ThreadPool pool(4);
  for (int round = 0; round < 3000; round++) {
    const int64_t tasks = 2 + round % 5;
    std::atomic<int64_t> sum{0};
    pool.run(tasks, [&sum, round](int64_t task, int) { sum += round * 100 + task; });
    REQUIRE(sum == tasks * round * 100 + tasks * (tasks - 1) / 2);
    if (round % 300 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST_CASE("all threads of a pool take part") {
  ThreadPool pool(2);
  std::atomic<int> here{0};
  // Neither task can end before the other has begun.
  pool.run(2, [&](int64_t, int) {
    here++;
    while (here < 2) std::this_thread::yield();
  });
  CHECK(here == 2);
}

TEST_CASE("the exception of a task reaches the caller, and the pool goes on") {
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 20; round++) {
      std::string message;
      try {
        pool.run(50, [](int64_t task, int) {
          if (task == 17) throw std::runtime_error("task 17");
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      REQUIRE(message == "task 17");
      std::atomic<int> ran{0};
      pool.run(50, [&](int64_t, int) { ran++; });
      REQUIRE(ran == 50);
    }
  }
}

TEST_CASE("a run from inside a task stays on that task's thread and worker") {
  ThreadPool pool(2), other(2);
  std::atomic<bool> moved{false};
  std::atomic<int> inner{0};
  pool.run(8, [&](int64_t, int worker) {
    const auto thread = std::this_thread::get_id();
    pool.run(5, [&](int64_t, int nested) {
      if (nested != worker || std::this_thread::get_id() != thread) moved = true;
      inner++;
    });
  });
  CHECK(inner == 40);
  CHECK_FALSE(moved);
  // Another pool is another matter: its tasks are shared out among its own threads.
  std::atomic<int> through{0};
  pool.run(1, [&](int64_t, int) { other.run(6, [&](int64_t, int) { through++; }); });
  CHECK(through == 6);
}

TEST_CASE("runs called from several threads never use a worker twice at a time") {
  ThreadPool pool(2);
  std::atomic<bool> busy[2]{}, clash{false};
  std::atomic<int> total{0};
  auto call = [&] {
    for (int round = 0; round < 200; round++)
      pool.run(4, [&](int64_t, int worker) {
        if (busy[worker].exchange(true)) clash = true;
        std::this_thread::yield();
        total++;
        busy[worker] = false;
      });
  };
  std::thread a(call), b(call);
  call();
  a.join();
  b.join();
  CHECK(total == 2400);
  CHECK_FALSE(clash);
}

TEST_CASE("scratch is aligned, large enough, kept, and each worker's own") {
  ThreadPool pool(3);
  void* const first = pool.scratch(0, 100);
  CHECK(reinterpret_cast<uintptr_t>(first) % 64 == 0);
  CHECK(pool.scratch(0, 64) == first);
  void* const grown = pool.scratch(0, 1 << 20);
  CHECK(reinterpret_cast<uintptr_t>(grown) % 64 == 0);
  std::memset(grown, 1, 1 << 20);
  CHECK(pool.scratch(0, 1 << 20) == grown);
  const std::set<void*> pieces{grown, pool.scratch(1, 64), pool.scratch(2, 64)};
  CHECK(pieces.size() == 3);
}

// A sanitizer's allocator ends the program where there is not enough memory.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FULMAR_ALLOCATOR_ABORTS
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FULMAR_ALLOCATOR_ABORTS
#endif
#ifndef FULMAR_ALLOCATOR_ABORTS
TEST_CASE("scratch that can't be had is an error, and the worker goes on") {
  ThreadPool pool(2);
  try {
    pool.scratch(1, size_t{1} << 60);
    FAIL("2^60 bytes were had");
  } catch (const fulmar::Error& error) {
    CHECK(error.kind() == fulmar::ErrorKind::device);
  }
  CHECK(pool.scratch(1, 64) != nullptr);
}
#endif
