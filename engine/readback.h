#pragma once

#include <span>
#include <vector>

#include "engine/session.h"

namespace fulmar {

// The elements of a contiguous tensor in host memory, as doubles. Allocates nothing where `values`
// had as many before. Error(usage) for an unknown element type.
FULMAR_API void to_doubles(const View& tensor, std::vector<double>& values);

// Outputs of a session that the host reads when it likes: the device copies them behind a run while
// the host goes on. The session must outlive it.
class FULMAR_API Readback {
 public:
  Readback(Session& session, std::span<const Val> outputs);

  // Starts the copies of the latest run's values. Errors as Session::read.
  void start();
  // Waits until they are there.
  void wait() { session_->await(mark_); }
  // Values that are there, by the place of the output in the list.
  void read(size_t output, std::vector<double>& values) const { to_doubles(host_[output], values); }
  double first(size_t output);  // element

 private:
  Session* session_;
  std::vector<Val> outputs_;
  std::vector<PinnedBuffer> memory_;
  std::vector<View> host_;
  std::vector<double> one_;
  uint64_t mark_ = 0;
};

}  // namespace fulmar
