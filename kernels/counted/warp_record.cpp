#include "kernels/counted/warp_record.h"

namespace fulmar::counted {

void WarpRecord::access(uint32_t place, unsigned lane, Kind kind, Space space, uint64_t address,
                        unsigned bytes) {
  if (place >= places_.size()) places_.resize(place + 1);
  Place& at = places_[place];
  const uint32_t time = at.times[lane]++;
  if (time == 0 && at.requests.empty()) used_.push_back(place);
  if (time >= at.requests.size()) {
    at.requests.push_back(static_cast<uint32_t>(requests_.size()));
    requests_.push_back({kind, space, static_cast<uint8_t>(bytes), 0, {}});
  }
  Request& request = requests_[at.requests[time]];
  request.lanes |= 1u << lane;
  request.address[lane] = address;
}

void WarpRecord::run(uint32_t place, unsigned lane) {
  if (place >= run_at_.size()) run_at_.resize(place + 1);
  uint32_t& at = run_at_[place];
  if (at == 0) {
    runs_.push_back({place, {}});
    at = static_cast<uint32_t>(runs_.size());
  }
  runs_[at - 1].of[lane]++;
}

void WarpRecord::clear() {
  for (const uint32_t place : used_) places_[place] = {};
  used_.clear();
  requests_.clear();
  for (const Runs& runs : runs_) run_at_[runs.place] = 0;
  runs_.clear();
}

}  // namespace fulmar::counted
