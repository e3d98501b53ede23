#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "kernels/simt/types.h"

namespace fulmar::simt {

using Launches = std::vector<std::function<void()>>;

// The time at which a stream runs work that nobody has waited for yet. Right programs give the same
// bits either way.
enum class Timing {
  early,  // launches at once; uploads at the last moment, when a fence asks for them, and transfers
          // before the next launch or when somebody waits
  late    // uploads at once; launches and transfers at the last moment, when somebody waits
};

// The target of a cudaStream_t here. A null stream runs launches at once.
class StreamState {
 public:
  explicit StreamState(Timing timing) : timing_(timing) {}

  void launch(std::function<void()> run);
  void upload(void* to, const void* from, size_t bytes);
  // Later kernels see the uploads so far; later uploads wait for the earlier kernels.
  void fence();
  void wait();  // runs what has not run yet
  // In the order of the launches.
  void transfer(void* to, const void* from, size_t bytes);
  uint64_t mark() const { return called_; }
  void wait(uint64_t mark);  // runs what was called before it
  void give_up();            // as wait(), for memory that goes away; ignores failures

  // The stream records the launches between the two. A call between that can't be captured throws
  // Error(device), and end_capture then throws it too.
  void begin_capture();
  Launches end_capture();
  void replay(const Launches& graph);
  // Error(device) during a capture.
  void forbid_in_capture(const char* call);

 private:
  struct Upload {
    void* to;
    const void* from;
    size_t bytes;
  };
  Timing timing_;
  bool capturing_ = false;
  std::string invalid_;  // the call that a capture can't hold
  Launches captured_;
  std::deque<std::function<void()>> pending_;
  uint64_t called_ = 0;  // launches and transfers so far; the last of them are pending
  std::vector<Upload> uploads_, transfers_;
};

// A launch on a stream.
template <class Run>
void submit(cudaStream_t stream, const Run& run) {
  if (stream)
    static_cast<StreamState*>(stream)->launch(run);
  else
    run();
}

}  // namespace fulmar::simt
