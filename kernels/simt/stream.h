#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kernels/simt/types.h"

namespace fulmar::simt {

using Launches = std::vector<std::function<void()>>;

// When work of a stream runs that nobody has waited for yet. Right programs give the same bits
// either way.
enum class Timing {
  early,  // launches at once; uploads at the last moment, when a fence asks for them
  late    // uploads at once; launches at the last moment, when somebody waits
};

// What a cudaStream_t points to here. One without it runs launches at once.
class StreamState {
 public:
  explicit StreamState(Timing timing) : timing_(timing) {}

  void launch(std::function<void()> run);
  void upload(void* to, const void* from, size_t bytes);
  // What runs from now on sees the uploads so far, and uploads to come what ran before.
  void fence();
  void wait();     // runs what has not run yet
  void give_up();  // the same, for memory that goes away: of what fails nothing is said

  // Launches between the two are written down. Error(device) from end_capture where something came
  // between that can't be, and from each such call.
  void begin_capture();
  Launches end_capture();
  void replay(const Launches& graph);
  // Error(device) where launches are being written down.
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
  Launches captured_, pending_;
  std::vector<Upload> uploads_;
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
