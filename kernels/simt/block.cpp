#include "kernels/simt/block.h"

#include <cstdio>
#include <string_view>

#include "kernels/error.h"
#include "kernels/simt/sanitizers.h"

namespace fulmar::simt {
namespace {

thread_local Block* running_block = nullptr;

char launch_begin, launch_end;  // addresses by which TSan is told of them

std::string text(const uint3& at) {
  return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

uint3 position(unsigned thread, const dim3& extent) {
  return {thread % extent.x, thread / extent.x % extent.y, thread / (extent.x * extent.y)};
}

std::string text(const CallSite& site) {
  return std::string(site.what) + " (" + site.file + ":" + std::to_string(site.line) + ")";
}

bool same(const CallSite& a, const CallSite& b) {
  return a.line == b.line && std::string_view(a.file) == b.file &&
         std::string_view(a.what) == b.what;
}

}  // namespace

Block& Block::current() {
  if (!running_block) usage_error("simt: a kernel's function was called outside a launch");
  return *running_block;
}

Block::Block(const Work& work, Turns& turns)
    : work_(work),
      turns_(turns),
      threads_(work.block.x * work.block.y * work.block.z),
      warps_((threads_.size() + lanes_per_warp - 1) / lanes_per_warp),
      order_(threads_.size()) {
  // One fiber more than threads: a thread index has another fiber in the next block, so that TSan
  // takes the two for different threads.
  if (race_checked) pool().reserve(threads_.size() + 1);
}

FiberPool& Block::pool() {
  static thread_local FiberPool fibers(fiber_body);
  return fibers;
}

void Block::launch_begins() { publish(&launch_begin); }
void Block::launch_ends() { observe(&launch_end); }

void Block::begin(uint3 index) {
  ::blockIdx = index;
  ::blockDim = work_.block;
  ::gridDim = work_.grid;
  alive_ = static_cast<unsigned>(threads_.size());
  at_barrier_ = barriers_ = 0;
  for (Thread& t : threads_) t.state = State::fresh;
  for (Warp& w : warps_) w = {};
  for (unsigned i = 0; i < alive_; i++)
    warps_[i / lanes_per_warp].alive |= 1u << (i % lanes_per_warp);
  if (observer_) observer_->block_begins(alive_);
  shared_ = std::make_unique<SharedMemory>(work_.dynamic_shared);
  tags_ = std::make_unique<Tags>();
}

void Block::run(uint3 index) {
  const Unwatched own;
  begin(index);
  Block* const before = running_block;
  running_block = this;
  while (alive_ > 0 && !error_) {
    const bool moved = take_turns();
    if (error_ || alive_ == 0) break;
    if (at_barrier_ == alive_)
      open_barrier();
    else if (!moved)
      error_ = std::make_exception_ptr(Error(ErrorKind::usage, "simt: " + std::string(work_.name) +
                                                                   ", block " + text(index) +
                                                                   ": deadlock: " + waits()));
  }
  running_block = before;
  if (error_) drop_threads();
  for (Thread& t : threads_)
    if (t.fiber) pool().give(std::move(t.fiber));
  if (error_) std::rethrow_exception(error_);
  if (const std::string overrun = shared_->overrun(); !overrun.empty())
    usage_error("simt: " + std::string(work_.name) + ", block " + text(index) + ": " + overrun);
}

// One turn for each thread that can run; false where none could.
bool Block::take_turns() {
  bool moved = false;
  turns_.next(order_);
  for (position_ = 0; position_ < order_.size() && !error_; position_++) {
    const State state = threads_[order_[position_]].state;
    if (state != State::fresh && state != State::ready) continue;
    resume(order_[position_]);
    moved = true;
  }
  return moved;
}

void Block::start(unsigned thread) {
  running_ = thread;
  ::threadIdx = position(thread, work_.block);
  if (observer_) observer_->thread_runs(thread);
}

void Block::resume(unsigned thread) {
  if (!threads_[thread].fiber) threads_[thread].fiber = pool().take();
  start(thread);
  threads_[thread].fiber->resume();
  // The fiber may have gone on to later threads.
  Thread& last = threads_[running_];
  if (last.state == State::done && !race_checked) pool().give(std::move(last.fiber));
}

void Block::fiber_body() {
  watch_end();
  for (;;) {
    Block& block = *running_block;
    block.run_thread();
    // A thread that begins next needs no stack of its own yet: most kernels never wait.
    const size_t next = block.position_ + 1;
    Thread& ended = block.threads_[block.running_];
    if (!race_checked && !block.error_ && next < block.order_.size() &&
        block.threads_[block.order_[next]].state == State::fresh &&
        !block.threads_[block.order_[next]].fiber) {
      block.position_ = next;
      block.threads_[block.order_[next]].fiber = std::move(ended.fiber);
      block.start(block.order_[next]);
    } else {
      Fiber::suspend();
    }
  }
}

void Block::run_thread() {
  observe(&launch_begin);
  watch_begin();
  try {
    work_.kernel(work_.arguments);
    watch_end();
  } catch (...) {
    watch_end();
    if (!error_) error_ = std::current_exception();
  }
  publish(&launch_end);
  threads_[running_].state = State::done;
  alive_--;
  if (!error_) leave_warp();
}

// The stacks of threads that still wait can't be used again.
void Block::drop_threads() {
  for (Thread& t : threads_)
    if (t.state == State::at_barrier || t.state == State::at_warp || t.state == State::ready)
      t.fiber.reset();
}

int Block::barrier(const CallSite& site, int predicate) {
  const Unwatched own;
  if (at_barrier_ == 0) {
    first_at_barrier_ = running_;
    predicates_ = 0;
  } else if (const CallSite& first = threads_[first_at_barrier_].site; !same(first, site)) {
    fail("divergent barrier: it is at " + text(site) + ", thread " +
         text(position(first_at_barrier_, work_.block)) + " at " + text(first));
  }
  Thread& t = threads_[running_];
  t.site = site;
  t.state = State::at_barrier;
  at_barrier_++;
  predicates_ += predicate != 0;
  char* const tag = &tags_->block[barriers_ % 2];
  publish(tag);
  Fiber::suspend();
  observe(tag);
  return barrier_result_;
}

void Block::open_barrier() {
  barrier_result_ = predicates_;
  at_barrier_ = 0;
  barriers_++;
  if (observer_) {
    observer_->barrier();
    for (unsigned warp = 0; warp < warps_.size(); warp++) observer_->lanes_meet(warp);
  }
  for (Thread& t : threads_)
    if (t.state == State::at_barrier) t.state = State::ready;
}

void Block::warp_operation(const CallSite& site, uint32_t mask, WarpCall& call) {
  const Unwatched own;
  const unsigned lane = running_ % lanes_per_warp, warp = running_ / lanes_per_warp;
  if (!(mask >> lane & 1)) fail(text(site) + ": the thread is not in its own mask");
  Thread& t = threads_[running_];
  t.site = site;
  t.mask = mask;
  t.call = &call;
  t.state = State::at_warp;
  warps_[warp].waiting |= 1u << lane;
  // Only __syncwarp orders memory; shuffles and votes don't.
  char* const tag = call.orders_memory ? &tags_->warp[warp][warps_[warp].completed % 2] : nullptr;
  if (tag) publish(tag);
  if (complete(warp, lane))
    t.state = State::ready;
  else
    Fiber::suspend();
  if (tag) observe(tag);
}

// Completes the operation at which `lane` waits, if all lanes of its mask are there.
bool Block::complete(unsigned warp, unsigned lane) {
  Warp& w = warps_[warp];
  Thread* const first = &threads_[warp * lanes_per_warp];
  const Thread& asked = first[lane];
  const uint32_t wanted = asked.mask & w.alive;
  if ((w.waiting & wanted) != wanted) return false;
  std::array<WarpCall*, lanes_per_warp> calls{};
  for (unsigned l = 0; l < lanes_per_warp; l++) {
    if (!(wanted >> l & 1)) continue;
    if (first[l].mask != asked.mask) return false;
    if (!same(first[l].site, asked.site))
      fail("lanes of one mask at different operations: lane " + std::to_string(lane) + " at " +
           text(asked.site) + ", lane " + std::to_string(l) + " at " + text(first[l].site));
    calls[l] = first[l].call;
  }
  asked.call->complete(calls, wanted);
  for (unsigned l = 0; l < lanes_per_warp; l++)
    if (wanted >> l & 1) first[l].state = State::ready;
  w.waiting &= ~wanted;
  w.completed++;
  if (observer_) {
    observer_->warp_operation();
    if (wanted == w.alive) observer_->lanes_meet(warp);
  }
  return true;
}

// The thread that runs has ended: those of its warp who waited for it alone go on.
void Block::leave_warp() {
  const unsigned warp = running_ / lanes_per_warp;
  Warp& w = warps_[warp];
  w.alive &= ~(1u << (running_ % lanes_per_warp));
  if (observer_ && w.alive == 0) observer_->lanes_meet(warp);
  for (unsigned l = 0; l < lanes_per_warp; l++)
    if (w.waiting >> l & 1) {
      try {
        complete(warp, l);
      } catch (...) {
        error_ = std::current_exception();
        return;
      }
    }
}

void* Block::shared_array(const void* tag, const char* name, size_t bytes) {
  const Unwatched own;
  try {
    void* memory = shared_->array(tag, name, bytes);
    if (observer_) observer_->shared_array(memory, bytes);
    return memory;
  } catch (const Error& error) {
    fail(error.what());
  }
}

void* Block::dynamic_shared() {
  const Unwatched own;
  void* memory = shared_->dynamic();
  if (!memory) fail("the launch asked for no dynamic shared memory");
  if (observer_) observer_->shared_array(memory, work_.dynamic_shared);
  return memory;
}

void Block::fail(const std::string& what) const {
  usage_error("simt: " + std::string(work_.name) + ", block " + text(::blockIdx) + ", thread " +
              text(::threadIdx) + ": " + what);
}

// "threads 0-15 wait at __syncthreads (f.cu:12), threads 16-31 have left"
std::string Block::waits() const {
  std::string all;
  for (unsigned i = 0; i < threads_.size();) {
    const Thread& t = threads_[i];
    unsigned end = i + 1;
    while (end < threads_.size() && threads_[end].state == t.state &&
           (t.state == State::done ||
            (threads_[end].mask == t.mask && same(threads_[end].site, t.site))))
      end++;
    all += (i ? ", " : "") + std::string(end - i == 1 ? "thread " : "threads ") + std::to_string(i);
    if (end - i > 1) all += "-" + std::to_string(end - 1);
    if (t.state == State::done) {
      all += " left";
    } else {
      all += " wait at " + text(t.site);
      if (t.state == State::at_warp) {
        char mask[16];
        std::snprintf(mask, sizeof mask, "%08x", t.mask);
        all += std::string(" for mask ") + mask;
      }
    }
    i = end;
  }
  return all;
}

}  // namespace fulmar::simt
