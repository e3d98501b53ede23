#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_check.h"
#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/patches.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d.cpp"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "kernels/cpu/conv2d_forward-inl.h"
#include "kernels/cpu/convolution-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Floats of the packed sides of all products: panels, and two tables of the columns after them. A
// multiple of a double's size.
int64_t conv2d_floats(const View& w, const View& y, int64_t groups) {
  const int64_t depth = w.shape.images() * w.shape.height() * w.shape.width();
  const int64_t floats = groups * padded_columns(y.shape.channels() / groups) * (depth + 2);
  return (floats + 1) / 2 * 2;
}

void conv2d_target(ThreadPool& pool, const View& x, const View& w, const View& bias, const View& y,
                   const Window& window, int64_t groups, float* memory) {
  const int64_t outputs = y.shape.channels() / groups, padded = padded_columns(outputs);
  const float* const biases =
      column_table(bias, outputs, groups, memory + groups * padded * w.shape.pixels());
  Scratch<Product<AddBias>> products;
  for (int64_t g = 0; g < groups; g++)
    products.push_back(
        forward_product(x, w, y, window, groups, g, memory, AddBias{biases + g * padded}, Keep()));
  pack_weights(pool, w, groups, memory);
  run_products(pool, products);
}

// Runs the products of all groups, with sums where they are wanted.
template <class PackingOf>
void convolve(ThreadPool& pool, const Loaded& x, const View& w, const View& bias, const View& shift,
              const View& y, const View& sums, const Window& window, int64_t groups, float* memory,
              const PackingOf& packing) {
  const int64_t outputs = y.shape.channels() / groups, padded = padded_columns(outputs);
  float* const tables = memory + groups * padded * w.shape.pixels();
  const float* const biases = column_table(bias, outputs, groups, tables);
  const float* const shifts = column_table(shift, outputs, groups, tables + groups * padded);
  const TaskSums task_sums{
      sums ? reinterpret_cast<double*>(memory + conv2d_floats(w, y, groups)) : nullptr, padded};
  Scratch<Product<SumSquares, decltype(packing(0))>> products;
  for (int64_t g = 0; g < groups; g++)
    products.push_back(forward_product(
        x.x, w, y, window, groups, g, memory,
        SumSquares{{biases + g * padded}, task_sums, shifts + g * padded, nullptr}, packing(g)));
  pack_weights(pool, w, groups, memory);
  const Scratch<Piece> pieces = pieces_of(products);
  run_pieces(pool, products, pieces);
  if (!sums) return;
  double* const out = sums.as<double>();
  std::fill_n(out, 2 * y.shape.channels(), 0.0);
  for (size_t i = 0; i < pieces.size(); i++)
    task_sums.add_to(out, y.shape.channels(), pieces[i].product * outputs, outputs,
                     static_cast<int64_t>(i));
  std::fill_n(out + 2 * y.shape.channels(), y.shape.channels(),
              static_cast<double>(y.shape.pixels()));
}

void convolution_target(ThreadPool& pool, const Loaded& x, const View& w, const View& bias,
                        const View& shift, const View& y, const View& sums, const Window& window,
                        int64_t groups, float* memory) {
  const ColumnNorm norm(x, w.shape.pixels(), groups);
  const auto run = [&](const auto& packing) {
    convolve(pool, x, w, bias, shift, y, sums, window, groups, memory, packing);
  };
  if (x.normalised())
    run([&](int64_t g) { return Normalise{norm.affine(g)}; });
  else
    run([](int64_t) { return Keep(); });
}

size_t convolution_bytes(const Loaded& x, const View& w, const View& y, const View& sums,
                         const Window& window, int64_t groups) {
  const auto floats = static_cast<size_t>(conv2d_floats(w, y, groups)) * sizeof(float);
  if (sums.shape.rank() == 0) return floats;
  const int64_t outputs = y.shape.channels() / groups;
  // Tasks are cut by shape alone; views may lack memory.
  const auto tasks = [&](const auto& packing) {
    const auto one = forward_product(x.x, w, y, window, groups, 0, nullptr, SumSquares{}, packing);
    Scratch<std::decay_t<decltype(one)>> products;
    for (int64_t g = 0; g < groups; g++) products.push_back(one);
    return pieces_of(products).size();
  };
  return floats + 2 * sizeof(double) * static_cast<size_t>(padded_columns(outputs)) *
                      (x.normalised() ? tasks(Normalise{}) : tasks(Keep()));
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(conv2d_target);
HWY_EXPORT(conv2d_floats);

size_t conv2d_workspace(Stream&, const View&, const View& w, const View&, const View& y,
                        const Window& window, int64_t groups) {
  if (conv2d_is_direct(w, y, window, groups)) return 0;
  return static_cast<size_t>(HWY_DYNAMIC_DISPATCH(conv2d_floats)(w, y, groups)) * sizeof(float);
}

// A matrix product over patches that are copied a block at a time (implicit im2col).
void conv2d(Stream& stream, const View& x, const View& w, const View& bias, const View& y,
            const Window& window, int64_t groups, void* work) {
  check_conv2d(x, w, y, window, groups);
  if (y.shape.elements() == 0) return;
  if (conv2d_is_direct(w, y, window, groups))
    return conv2d_direct(stream, {x}, w, bias, {}, y, {}, window, work);
  HWY_DYNAMIC_DISPATCH(conv2d_target)
  (*stream.pool, x, w, bias, y, window, groups, static_cast<float*>(work));
}

HWY_EXPORT(convolution_target);
HWY_EXPORT(convolution_bytes);

bool convolution_samples(const View& w, const View& y, const Window& window, int64_t groups) {
  return conv2d_is_direct(w, y, window, groups) &&
         conv2d_weight_grad_is_direct(y, w, window, groups);
}

size_t convolution_workspace(Stream&, const Loaded& x, const View& w, const View&, const View&,
                             const View& y, const View& sums, const Window& window,
                             int64_t groups) {
  if (y.shape.elements() == 0) return 0;
  if (!x.normalised() && conv2d_is_direct(w, y, window, groups))
    return conv2d_direct_workspace(y, sums);
  return HWY_DYNAMIC_DISPATCH(convolution_bytes)(x, w, y, sums, window, groups);
}

void convolution(Stream& stream, const Loaded& x, const View& w, const View& bias,
                 const View& shift, const View& y, const View& sums, const Window& window,
                 int64_t groups, void* work) {
  check_conv2d(x, w, y, window, groups);
  if (y.shape.elements() == 0) {
    if (sums) channel_sums(stream, y, shift, sums);
    return;
  }
  if (!x.normalised() && conv2d_is_direct(w, y, window, groups))
    return conv2d_direct(stream, x, w, bias, shift, y, sums, window, work);
  HWY_DYNAMIC_DISPATCH(convolution_target)
  (*stream.pool, x, w, bias, shift, y, sums, window, groups, static_cast<float*>(work));
}

}  // namespace fulmar::cpu
#endif
