#include "engine/ops/warp.h"

#include "engine/ops.h"
#include "engine/shape_rules.h"

namespace fulmar::ops {
namespace {

// What both ops ask of the samples and the output of a source [N,H,W,bands].
void check_samples(const ValueInfo& samples, const Shape& source, int64_t height, int64_t width) {
  require(samples.type == DType::u8 &&
              samples.shape == Shape({source[0], static_cast<int64_t>(sizeof(WarpSample))}),
          "samples must hold one WarpSample for each image");
  require(height > 0 && width > 0, "the output has no pixels");
}

}  // namespace

std::vector<ValueInfo> Warp::infer(std::span<const ValueInfo> in) const {
  const Shape& source = in[0].shape;
  require(in[0].role == Role::source && source.rank() == 4,
          "source must be a source [N,H,W,bands]");
  require(source[3] <= WarpOptions::max_bands,
          "at most " + text(WarpOptions::max_bands) + " bands, source has " + text(source[3]));
  check_samples(in[1], source, height, width);
  return {activation({source[0], height, width, source[3]})};
}

void Warp::run(Device& device, const RunArgs& args) const {
  device.backend().warp(device.stream(), args.in[0], args.in[1].as<const WarpSample>(), args.out[0],
                        how);
}

Attributes Warp::attributes() const {
  Attributes attributes{
      {"interpolation",
       std::string(how.interpolation == Interpolation::nearest ? "nearest" : "bilinear")},
      {"standardize", how.standardize}};
  if (cuts) attributes["cuts"] = true;
  return attributes;
}

Val warp(Tape& tape, Val source, Val samples, int64_t height, int64_t width, const WarpOptions& how,
         bool cuts) {
  return tape.append(std::make_shared<Warp>(height, width, how, cuts), {source, samples});
}

std::vector<ValueInfo> WarpLabels::infer(std::span<const ValueInfo> in) const {
  const Shape& source = in[0].shape;
  require(
      in[0].role == Role::source && in[0].type == DType::u8 && source.rank() == 4 && source[3] == 1,
      "labels must be a source u8 [N,H,W,1], they are " + text(source) + " " + name_of(in[0].type));
  check_samples(in[1], source, height, width);
  return {{{source[0], height, width, 1}, Role::index, DType::u8}};
}

void WarpLabels::run(Device& device, const RunArgs& args) const {
  device.backend().warp_labels(device.stream(), args.in[0], args.in[1].as<const WarpSample>(),
                               args.out[0], outside);
}

Attributes WarpLabels::attributes() const { return {{"outside", int64_t{outside}}}; }

Val warp_labels(Tape& tape, Val source, Val samples, int64_t height, int64_t width,
                uint8_t outside) {
  return tape.append(std::make_shared<WarpLabels>(height, width, outside), {source, samples});
}

}  // namespace fulmar::ops
