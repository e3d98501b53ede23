#include "kernels/cpu/axis_weights.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/resample.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// sum[e] = sum over the entries of weight * rows[entry][e]
void blend_rows(const float* rows, int64_t elements, const Scratch<Weights::Entry>& entries,
                float* sum) {
  if (entries.empty()) std::fill_n(sum, elements, 0.0f);
  bool first = true;
  for (const Weights::Entry& entry : entries) {
    const V weight = hn::Set(D(), static_cast<float>(entry.weight));
    const float* row = rows + entry.source * elements;
    if (first)
      transform(
          Cached(), elements, sum, [&](V x) HWY_ATTR { return hn::Mul(x, weight); }, row);
    else
      transform(
          Cached(), elements, sum, [&](V x, V s) HWY_ATTR { return hn::MulAdd(x, weight, s); }, row,
          sum);
    first = false;
  }
}

// y[i][j] = sum over rows.of[i] and columns.of[j] of row weight * column weight * x[row][column]
void resample(Stream& stream, const View& x, const View& y, const Weights& rows,
              const Weights& columns) {
  const int64_t channels = y.shape.channels(), width = y.shape.width(), height = y.shape.height();
  const int64_t x_row = x.shape.width() * channels, x_height = x.shape.height();
  const int64_t grain = rows_per_chunk(width * channels, elementwise_grain);
  for_chunks(stream, y.shape.images() * height, grain,
             [&](int64_t begin, int64_t end, int worker) HWY_ATTR {
               const OutputRows<float> output(stream, worker, y);
               Scratch<float> blended(static_cast<size_t>(x_row));
               for (int64_t row = begin; row < end; row++) {
                 blend_rows(x.as<float>() + row / height * x_height * x_row, x_row,
                            rows.of[row % height], blended.data());
                 float* out = output.begin(row);
                 for (int64_t column = 0; column < width; column++) {
                   const Scratch<Weights::Entry>& entries = columns.of[column];
                   for_channels(channels, [&](auto d, int64_t c) HWY_ATTR {
                     auto sum = hn::Zero(d);
                     for (const Weights::Entry& entry : entries)
                       sum = hn::MulAdd(hn::LoadU(d, blended.data() + entry.source * channels + c),
                                        hn::Set(d, static_cast<float>(entry.weight)), sum);
                     hn::StoreU(sum, d, out + column * channels + c);
                   });
                 }
                 output.end(row);
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
