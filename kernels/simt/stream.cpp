#include "kernels/simt/stream.h"

#include <cstring>
#include <utility>

#include "kernels/error.h"

namespace fulmar::simt {

void StreamState::launch(std::function<void()> run) {
  if (capturing_)
    captured_.push_back(std::move(run));
  else if (timing_ == Timing::late)
    pending_.push_back(std::move(run));
  else
    run();
}

void StreamState::upload(void* to, const void* from, size_t bytes) {
  if (timing_ == Timing::early)
    uploads_.push_back({to, from, bytes});
  else
    std::memcpy(to, from, bytes);
}

void StreamState::fence() {
  wait();
  for (const Upload& u : std::exchange(uploads_, {})) std::memcpy(u.to, u.from, u.bytes);
}

void StreamState::wait() {
  // What a failed launch leaves behind never runs, as on a GPU.
  for (const auto& run : std::exchange(pending_, {})) run();
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
