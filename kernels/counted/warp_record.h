#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/counted/request.h"

namespace fulmar::counted {

// What the lanes of a warp did since they last met. They run one after the other, each to its next
// wait: the n-th time that a lane comes to a place belongs to the n-th time of the others.
class WarpRecord {
 public:
  // How often the lanes ran a piece of the code.
  struct Runs {
    uint32_t place = 0;
    std::array<uint32_t, 32> of{};
  };

  // `place`: a small number for where it stands in the code, with the calls that led there.
  void access(uint32_t place, unsigned lane, Kind kind, Space space, uint64_t address,
              unsigned bytes);
  void run(uint32_t place, unsigned lane);

  // In the order in which they were first asked for.
  const std::vector<Request>& requests() const { return requests_; }
  const std::vector<Runs>& runs() const { return runs_; }
  void clear();

 private:
  struct Place {
    std::array<uint32_t, 32> times{};  // that a lane was there
    std::vector<uint32_t> requests;    // by time
  };
  std::vector<Place> places_;
  std::vector<uint32_t> used_;  // places with accesses
  std::vector<Request> requests_;
  std::vector<uint32_t> run_at_;  // by place: in runs_, from 1
  std::vector<Runs> runs_;
};

}  // namespace fulmar::counted
