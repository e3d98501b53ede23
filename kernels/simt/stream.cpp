#include "kernels/simt/stream.h"

#include <cstring>
#include <utility>

#include "kernels/error.h"

namespace fulmar::simt {
namespace {

template <class Copies>
void copy_all(Copies& copies) {
  for (const auto& c : std::exchange(copies, {})) std::memcpy(c.to, c.from, c.bytes);
}

}  // namespace

void StreamState::launch(std::function<void()> run) {
  if (capturing_) {
    captured_.push_back(std::move(run));
    return;
  }
  called_++;
  if (timing_ == Timing::late) {
    pending_.push_back(std::move(run));
    return;
  }
  copy_all(transfers_);
  run();
}

void StreamState::transfer(void* to, const void* from, size_t bytes) {
  called_++;
  if (timing_ == Timing::early)
    transfers_.push_back({to, from, bytes});
  else
    pending_.emplace_back([=] { std::memcpy(to, from, bytes); });
}

void StreamState::upload(void* to, const void* from, size_t bytes) {
  if (timing_ == Timing::early)
    uploads_.push_back({to, from, bytes});
  else
    std::memcpy(to, from, bytes);
}

void StreamState::fence() {
  wait();
  copy_all(uploads_);
}

void StreamState::wait() { wait(called_); }

void StreamState::wait(uint64_t mark) {
  copy_all(transfers_);
  std::deque<std::function<void()>> rest = std::exchange(pending_, {});
  for (uint64_t done = called_ - rest.size(); done < mark && !rest.empty(); done++) {
    const std::function<void()> run = std::move(rest.front());
    rest.pop_front();
    run();  // what a failed launch leaves behind never runs, as on a GPU
  }
  pending_ = std::move(rest);
}

void StreamState::give_up() {
  try {
    fence();
  } catch (const Error&) {
  }
}

void StreamState::begin_capture() {
  if (capturing_) device_error("simt: a capture within a capture");
  capturing_ = true;
  invalid_.clear();
}

Launches StreamState::end_capture() {
  if (!capturing_) device_error("simt: the end of a capture that has no beginning");
  capturing_ = false;
  Launches graph = std::exchange(captured_, {});
  if (!invalid_.empty())
    device_error("simt: the capture was invalidated by " + invalid_ + ", which can't be captured");
  return graph;
}

void StreamState::replay(const Launches& graph) {
  forbid_in_capture("replay");
  for (const auto& run : graph) launch(run);
}

void StreamState::forbid_in_capture(const char* call) {
  if (!capturing_) return;
  invalid_ = call;
  device_error("simt: " + invalid_ + ": not permitted when the stream is capturing");
}

}  // namespace fulmar::simt
