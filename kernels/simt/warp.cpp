#include "kernels/simt/warp.h"

#include "kernels/simt/block.h"

namespace fulmar::simt {
namespace {

bool is_in(uint32_t mask, int lane) { return lane >= 0 && lane < 32 && (mask >> lane & 1); }

void complete_shuffle(const WarpCall::Lanes& lanes, uint32_t present) {
  for (int l = 0; l < 32; l++)
    if (is_in(present, l)) {
      const int source = lanes[l]->source;
      lanes[l]->result = is_in(present, source) ? lanes[source]->value : ~uint64_t{0};
    }
}

void complete_ballot(const WarpCall::Lanes& lanes, uint32_t present) {
  uint64_t votes = 0;
  for (int l = 0; l < 32; l++)
    if (is_in(present, l) && lanes[l]->value) votes |= uint64_t{1} << l;
  for (int l = 0; l < 32; l++)
    if (is_in(present, l)) lanes[l]->result = votes;
}

}  // namespace

uint64_t shuffle(const char* what, uint32_t mask, uint64_t value, int source, const char* file,
                 int line) {
  WarpCall call{complete_shuffle, false, value, source, 0};
  Block::current().warp_operation({what, file, line}, mask, call);
  return call.result;
}

uint32_t ballot(const char* what, uint32_t mask, bool predicate, const char* file, int line) {
  WarpCall call{complete_ballot, false, predicate, 0, 0};
  Block::current().warp_operation({what, file, line}, mask, call);
  return static_cast<uint32_t>(call.result);
}

void sync_warp(uint32_t mask, const char* file, int line) {
  WarpCall call{complete_ballot, true, 0, 0, 0};
  Block::current().warp_operation({"__syncwarp", file, line}, mask, call);
}

int this_lane() { return static_cast<int>(Block::current().lane()); }

}  // namespace fulmar::simt
