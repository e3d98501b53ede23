#include "engine/ops.h"
#include "engine/ops/check.h"

namespace fulmar::ops {
namespace {

// source, samples -> y. Sources are data, not values of a function: there is no gradient.
class Warp : public Op {
 public:
  Warp(int64_t height, int64_t width, const WarpOptions& how)
      : height_(height), width_(width), how_(how) {}
  std::string_view name() const override { return "warp"; }
  std::vector<ValueInfo> infer(std::span<const ValueInfo> in) const override {
    const Shape& source = in[0].shape;
    require(in[0].role == Role::source && source.rank() == 4,
            "source must be a source [N,H,W,bands]");
    require(source[3] <= WarpOptions::max_bands,
            "at most " + text(WarpOptions::max_bands) + " bands, source has " + text(source[3]));
    require(in[1].type == DType::u8 &&
                in[1].shape == Shape({source[0], static_cast<int64_t>(sizeof(WarpSample))}),
            "samples must hold one WarpSample for each image");
    require(height_ > 0 && width_ > 0, "the output has no pixels");
    return {activation({source[0], height_, width_, source[3]})};
  }
  void run(Device& device, const RunArgs& args) const override {
    device.backend().warp(device.stream(), args.in[0], args.in[1].as<const WarpSample>(),
                          args.out[0], how_);
  }

 private:
  int64_t height_, width_;
  WarpOptions how_;
};

}  // namespace

Val warp(Tape& tape, Val source, Val samples, int64_t height, int64_t width,
         const WarpOptions& how) {
  return tape.append(std::make_shared<Warp>(height, width, how), {source, samples});
}

}  // namespace fulmar::ops
