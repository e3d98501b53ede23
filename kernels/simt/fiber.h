#pragma once

#include <cstddef>
#include <deque>
#include <memory>

namespace fulmar::simt {

// A stack of its own, on which code runs until it suspends itself; both sides stay on one thread of
// the machine. ASan and TSan are told of every switch.
class Fiber {
 public:
  // `body` must not return and must let no exception out; it may suspend for ever.
  explicit Fiber(void (*body)());
  // What still stands on the stack is dropped without destructors.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void resume();          // from outside: runs the fiber until it suspends
  static void suspend();  // from inside: goes back to who resumed it

 private:
  struct Machine;  // saved registers, and what the sanitizers keep
  static void enter();

  std::unique_ptr<Machine> machine_;
};

// Fibers that wait for work, kept from launch to launch, all with one body.
class FiberPool {
 public:
  explicit FiberPool(void (*body)()) : body_(body) {}
  // The fiber that has waited longest.
  std::unique_ptr<Fiber> take();
  void give(std::unique_ptr<Fiber> fiber) { waiting_.push_back(std::move(fiber)); }
  void reserve(size_t count);

 private:
  void (*body_)();
  std::deque<std::unique_ptr<Fiber>> waiting_;
};

}  // namespace fulmar::simt
