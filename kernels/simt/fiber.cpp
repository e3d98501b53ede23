#include "kernels/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "kernels/error.h"
#include "kernels/simt/sanitizers.h"

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace fulmar::simt {
namespace {

constexpr size_t stack_bytes = 256 * 1024;

#ifdef __x86_64__
using Registers = void*;  // the stack pointer; all else that a call keeps lies on the stack

extern "C" void fulmar_simt_switch(void** save, void* to);
__asm__(R"(
.pushsection .text
.globl fulmar_simt_switch
.hidden fulmar_simt_switch
.type fulmar_simt_switch,@function
fulmar_simt_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp,(%rdi)
  mov %rsi,%rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size fulmar_simt_switch, .-fulmar_simt_switch
.popsection
)");

void switch_to(Registers* save, Registers* to) { fulmar_simt_switch(save, *to); }

// As if `entry` had been called from nowhere: six saved registers, its address, return address 0.
Registers prepare(char* stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + stack_bytes) - 2;
  *top = reinterpret_cast<void*>(entry);
  top -= 6;
  std::memset(top, 0, 6 * sizeof(void*));
  return top;
}
#else
using Registers = ucontext_t;

void switch_to(Registers* save, Registers* to) { swapcontext(save, to); }

Registers prepare(char* stack, void (*entry)()) {
  Registers registers;
  getcontext(&registers);
  registers.uc_stack.ss_sp = stack;
  registers.uc_stack.ss_size = stack_bytes;
  registers.uc_link = nullptr;
  makecontext(&registers, entry, 0);
  return registers;
}
#endif

}  // namespace

struct Fiber::Machine {
  void (*body)() = nullptr;
  char* pages = nullptr;  // a page that may not be touched, then the stack
  size_t page_bytes = 0;
  Registers own{}, outside{};
#ifdef FULMAR_SIMT_ASAN
  void *fake_stack = nullptr, *outside_fake_stack = nullptr;
  const void* outside_stack = nullptr;
  size_t outside_bytes = 0;
#endif
#ifdef FULMAR_SIMT_TSAN
  void *tsan = nullptr, *outside_tsan = nullptr;
#endif
  char* stack() const { return pages + page_bytes; }

  static thread_local Machine* running;
};
thread_local Fiber::Machine* Fiber::Machine::running = nullptr;

Fiber::Fiber(void (*body)()) : machine_(new Machine) {
  Machine& m = *machine_;
  m.body = body;
  m.page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* pages = mmap(nullptr, m.page_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) device_error("simt: no memory for a thread's stack");
  m.pages = static_cast<char*>(pages);
  mprotect(pages, m.page_bytes, PROT_NONE);
  m.own = prepare(m.stack(), enter);
#ifdef FULMAR_SIMT_TSAN
  m.tsan = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  Machine& m = *machine_;
#ifdef FULMAR_SIMT_ASAN
  // Frames that were dropped left their red zones behind.
  __asan_unpoison_memory_region(m.stack(), stack_bytes);
#endif
  // TSan's side of a fiber is left to the end of the process: it insists on a fiber that watches
  // memory again before it ends.
  munmap(m.pages, m.page_bytes + stack_bytes);
}

void Fiber::enter() {
#ifdef FULMAR_SIMT_ASAN
  Machine& m = *Machine::running;
  __sanitizer_finish_switch_fiber(nullptr, &m.outside_stack, &m.outside_bytes);
#endif
  Machine::running->body();
  __builtin_trap();
}

void Fiber::resume() {
  Machine& m = *machine_;
  Machine* const before = Machine::running;
  Machine::running = &m;
#ifdef FULMAR_SIMT_ASAN
  __sanitizer_start_switch_fiber(&m.outside_fake_stack, m.stack(), stack_bytes);
#endif
#ifdef FULMAR_SIMT_TSAN
  m.outside_tsan = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(m.tsan, __tsan_switch_to_fiber_no_sync);
#endif
  switch_to(&m.outside, &m.own);
#ifdef FULMAR_SIMT_ASAN
  __sanitizer_finish_switch_fiber(m.outside_fake_stack, nullptr, nullptr);
#endif
  Machine::running = before;
}

void Fiber::suspend() {
  Machine& m = *Machine::running;
#ifdef FULMAR_SIMT_ASAN
  __sanitizer_start_switch_fiber(&m.fake_stack, m.outside_stack, m.outside_bytes);
#endif
#ifdef FULMAR_SIMT_TSAN
  __tsan_switch_to_fiber(m.outside_tsan, __tsan_switch_to_fiber_no_sync);
#endif
  switch_to(&m.own, &m.outside);
#ifdef FULMAR_SIMT_ASAN
  __sanitizer_finish_switch_fiber(m.fake_stack, &m.outside_stack, &m.outside_bytes);
#endif
}

std::unique_ptr<Fiber> FiberPool::take() {
  if (waiting_.empty()) return std::make_unique<Fiber>(body_);
  std::unique_ptr<Fiber> fiber = std::move(waiting_.front());
  waiting_.pop_front();
  return fiber;
}

void FiberPool::reserve(size_t count) {
  while (waiting_.size() < count) waiting_.push_back(std::make_unique<Fiber>(body_));
}

}  // namespace fulmar::simt
