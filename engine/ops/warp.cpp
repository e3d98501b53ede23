#include "engine/ops/warp.h"

#include "engine/ops.h"
#include "engine/ops/check.h"

namespace fulmar::ops {
std::vector<ValueInfo> Warp::infer(std::span<const ValueInfo> in) const {
  const Shape& source = in[0].shape;
  require(in[0].role == Role::source && source.rank() == 4,
          "source must be a source [N,H,W,bands]");
  require(source[3] <= WarpOptions::max_bands,
          "at most " + text(WarpOptions::max_bands) + " bands, source has " + text(source[3]));
  require(in[1].type == DType::u8 &&
              in[1].shape == Shape({source[0], static_cast<int64_t>(sizeof(WarpSample))}),
          "samples must hold one WarpSample for each image");
  require(height > 0 && width > 0, "the output has no pixels");
  return {activation({source[0], height, width, source[3]})};
}

void Warp::run(Device& device, const RunArgs& args) const {
  device.backend().warp(device.stream(), args.in[0], args.in[1].as<const WarpSample>(), args.out[0],
                        how);
}

Attributes Warp::attributes() const {
  return {{"interpolation",
           std::string(how.interpolation == Interpolation::nearest ? "nearest" : "bilinear")},
          {"standardize", how.standardize}};
}

Val warp(Tape& tape, Val source, Val samples, int64_t height, int64_t width,
         const WarpOptions& how) {
  return tape.append(std::make_shared<Warp>(height, width, how), {source, samples});
}

}  // namespace fulmar::ops
