#include "engine/fuse/patterns.h"

#include "engine/fuse/pattern.h"

namespace fulmar {

// A new pattern has a file here, and its line.
const std::vector<Patterns>& patterns(FuseFor use) {
  static const std::vector<Patterns> with_gradients{
      {fuse_pool_skip, fuse_separable, fuse_norm_relu, fuse_convolution}};
  static const std::vector<Patterns> inference{
      {fold_norm}, {rows_of_pool_skip, rows_of_conv, fuse_packed_conv}, {join_rows}};
  static const std::vector<Patterns> pointwise{{chain_pointwise}};
  switch (use) {
    case FuseFor::inference:
      return inference;
    case FuseFor::pointwise:
      return pointwise;
    default:
      return with_gradients;
  }
}

}  // namespace fulmar
