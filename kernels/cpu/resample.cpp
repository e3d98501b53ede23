#include "kernels/cpu/axis_weights.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/resample.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// y[i][j] = sum over rows.of[i], columns.of[j] of row weight * column weight * x[row][column]
void resample(Stream& stream, const View& x, const View& y, const Weights& rows,
              const Weights& columns) {
  struct Source {
    const float* x;
    float weight;
  };
  const int64_t channels = y.shape.channels(), width = y.shape.width(), height = y.shape.height();
  const int64_t x_row = x.shape.width() * channels, x_height = x.shape.height();
  const int64_t grain = rows_per_chunk(width * channels, elementwise_grain);
  for_chunks(
      stream, y.shape.images() * height, grain, [&](int64_t begin, int64_t end, int) HWY_ATTR {
        std::vector<Source> sources;
        for (int64_t row = begin; row < end; row++) {
          const float* image = x.as<float>() + row / height * x_height * x_row;
          sources.clear();
          for (const Weights::Entry& entry : rows.of[row % height])
            sources.push_back({image + entry.source * x_row, static_cast<float>(entry.weight)});
          for (int64_t column = 0; column < width; column++) {
            const std::vector<Weights::Entry>& across = columns.of[column];
            float* out = y.as<float>() + (row * width + column) * channels;
            for_channels(channels, [&](auto d, int64_t c) HWY_ATTR {
              auto sum = hn::Zero(d);
              for (const Source& source : sources) {
                auto part = hn::Zero(d);
                for (const Weights::Entry& entry : across)
                  part = hn::MulAdd(hn::LoadU(d, source.x + entry.source * channels + c),
                                    hn::Set(d, static_cast<float>(entry.weight)), part);
                sum = hn::MulAdd(part, hn::Set(d, source.weight), sum);
              }
              hn::StoreU(sum, d, out + c);
            });
          }
        }
      });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(resample);

void average_pool(Stream& stream, const View& x, const View& y, std::array<int64_t, 2> kernel,
                  const Window& w) {
  HWY_DYNAMIC_DISPATCH(resample)
  (stream, x, y,
   average_weights(y.shape.height(), x.shape.height(), kernel[0], w.stride[0], w.dilation[0],
                   w.padding[0]),
   average_weights(y.shape.width(), x.shape.width(), kernel[1], w.stride[1], w.dilation[1],
                   w.padding[2]));
}

void average_pool_grad(Stream& stream, const View& dy, const View& dx,
                       std::array<int64_t, 2> kernel, const Window& w) {
  const int64_t height = dx.shape.height(), width = dx.shape.width();
  const Weights rows = average_weights(dy.shape.height(), height, kernel[0], w.stride[0],
                                       w.dilation[0], w.padding[0]);
  const Weights columns =
      average_weights(dy.shape.width(), width, kernel[1], w.stride[1], w.dilation[1], w.padding[2]);
  HWY_DYNAMIC_DISPATCH(resample)
  (stream, dy, dx, rows.transposed(height), columns.transposed(width));
}

void resize(Stream& stream, const View& x, const View& y, const Resize& how) {
  HWY_DYNAMIC_DISPATCH(resample)
  (stream, x, y, resize_weights(y.shape.height(), x.shape.height(), how),
   resize_weights(y.shape.width(), x.shape.width(), how));
}

void resize_grad(Stream& stream, const View& dy, const View& dx, const Resize& how) {
  const int64_t height = dx.shape.height(), width = dx.shape.width();
  HWY_DYNAMIC_DISPATCH(resample)
  (stream, dy, dx, resize_weights(dy.shape.height(), height, how).transposed(height),
   resize_weights(dy.shape.width(), width, how).transposed(width));
}

}  // namespace fulmar::cpu
#endif
