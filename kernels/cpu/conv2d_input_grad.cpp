#include <algorithm>
#include <cstring>

#include "kernels/cpu/conv2d_check.h"
#include "kernels/cpu/conv2d_direct.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/patches.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_input_grad.cpp"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "kernels/cpu/convolution-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Pixels of one phase that a task works on.
constexpr int64_t phase_pixels = 1024;

// Where bands of rows of dx are cut, for tasks that do all phases of one.
struct PhaseBands {
  int64_t rows, count, tasks;  // rows: of each phase

  PhaseBands(const View& dx, const Window& window) {
    const Shape& shape = dx.shape;
    const int64_t lines = (shape.height() + window.stride[0] - 1) / window.stride[0];
    const int64_t most_width = (shape.width() + window.stride[1] - 1) / window.stride[1];
    const int64_t few = std::max<int64_t>(1, lines * shape.images() / wanted_tasks);
    rows =
        std::clamp<int64_t>((phase_pixels + most_width - 1) / most_width, 1, std::min(few, lines));
    count = (lines + rows - 1) / rows;
    tasks = shape.images() * count;
  }
};

// Several phases: a task does them all for a band of rows, and fills the band first where a phase
// has no tap, so that every cache line is written while it is near: with `other`, or zeros.
template <class Epilogue>
HWY_INLINE void run_phases(ThreadPool& pool, const Scratch<Product<Epilogue>>& products, bool fill,
                           const View& other, const View& dx, const Window& window) {
  const PhaseBands bands(dx, window);
  size_t bytes = 0;
  for (const auto& product : products) bytes = std::max(bytes, product.scratch_bytes());
  const int64_t height = dx.shape.height(), row = dx.shape.width() * dx.shape.channels();
  pool.run(bands.tasks, [&](int64_t task, int worker) {
    const int64_t image = task / bands.count, first = task % bands.count * bands.rows;
    const int64_t last = first + bands.rows;
    if (fill) {
      const int64_t top = first * window.stride[0];
      const int64_t bottom = std::min(height, last * window.stride[0]);
      const int64_t at = (image * height + top) * row;
      const auto count = static_cast<size_t>((bottom - top) * row) * sizeof(float);
      if (other)
        std::memcpy(dx.as<float>() + at, other.as<float>() + at, count);
      else
        std::memset(dx.as<float>() + at, 0, count);
    }
    for (size_t i = 0; i < products.size(); i++) {
      const Patches& grid = products[i].left;
      const int64_t base = image * grid.grid_height;
      const int64_t number = task * std::ssize(products) + static_cast<int64_t>(i);
      run_product(products[i], of_task(products[i].epilogue, number),
                  (base + std::min(first, grid.grid_height)) * grid.grid_width,
                  (base + std::min(last, grid.grid_height)) * grid.grid_width, 0,
                  products[i].right.columns, pool.scratch(worker, bytes));
    }
  });
}

// Floats of the packed weights of all products. A multiple of a double's size.
int64_t conv2d_input_grad_floats(const View& dy, const View& w, int64_t groups) {
  const int64_t floats = groups * padded_columns(w.shape.width()) * (dy.shape.channels() / groups) *
                         w.shape.images() * w.shape.height();
  return (floats + 1) / 2 * 2;
}

// The products of all groups and phases, and the group of each.
template <class Epilogue>
struct InputGradProducts {
  Scratch<Product<Epilogue>> products;
  Scratch<int64_t> group;
  bool gaps = false;  // no tap reaches some pixels
};

// Their products, by packed weights. epilogue(g): of a group.
template <class EpilogueOf>
auto input_grad_products(ThreadPool& pool, const View& dy, const View& w, const View& dx,
                         const Window& window, int64_t groups, float* memory,
                         const EpilogueOf& epilogue) {
  const int64_t height = w.shape.images(), width = w.shape.height(), inputs = w.shape.width();
  const int64_t outputs = dy.shape.channels() / groups;
  const int64_t padded = padded_columns(inputs), panel = panel_width(inputs);
  const int64_t pixel = dx.shape.channels(), row = pixel * dx.shape.width();

  struct Slice {  // the weights of one tap and group, transposed into a panel's rows
    const float* from;
    float* to;
    int64_t column;
  };
  Scratch<Slice> slices;
  InputGradProducts<decltype(epilogue(0))> all;
  for (int64_t g = 0; g < groups; g++)
    for (Phase& phase : input_grad_phases(dy, dx, height, width, outputs, window, g)) {
      const int64_t depth = phase.patches.columns;
      if (depth == 0) {
        all.gaps = true;
        continue;
      }
      for (size_t t = 0; t < phase.taps.size(); t++)
        for (int64_t c = 0; c < inputs; c += panel)
          slices.push_back(
              {w.as<float>() + phase.taps[t] * inputs * w.shape.channels() + g * outputs,
               memory + c * depth + static_cast<int64_t>(t) * outputs * panel_width(inputs - c),
               c});
      all.group.push_back(g);
      all.products.push_back(
          {std::move(phase.patches),
           {memory, depth, inputs},
           {dx.as<float>() + g * inputs + phase.first_y * row + phase.first_x * pixel,
            row * dx.shape.height(), row * window.stride[0], pixel * window.stride[1]},
           epilogue(g)});
      memory += depth * padded;
    }
  pool.run(static_cast<int64_t>(slices.size()), [&](int64_t task, int) {
    const Slice& slice = slices[static_cast<size_t>(task)];
    pack_panel_transposed(slice.from, w.shape.channels(), outputs, inputs, slice.column, slice.to);
  });
  return all;
}

bool is_one_phase(const Window& window) { return window.stride[0] == 1 && window.stride[1] == 1; }

// Without a phase's taps dx is `other`, or zero.
template <class Epilogue>
void run_input_grad(ThreadPool& pool, const InputGradProducts<Epilogue>& all, const View& other,
                    const View& dx, const Window& window) {
  if (is_one_phase(window))
    run_products(pool, all.products);
  else
    run_phases(pool, all.products, all.gaps, other, dx, window);
}

void conv2d_input_grad_target(ThreadPool& pool, const View& dy, const View& w, const View& dx,
                              const Window& window, int64_t groups, float* memory) {
  const auto all = input_grad_products(pool, dy, w, dx, window, groups, memory,
                                       [](int64_t) { return StoreSum(); });
  run_input_grad(pool, all, {}, dx, window);
}

void add_input_grad(ThreadPool& pool, const View& dy, const View& w, const View& other,
                    const View& dx, const Window& window, int64_t groups, float* memory) {
  const AddOther epilogue{other.as<float>(), dx.as<float>()};
  const auto all = input_grad_products(pool, dy, w, dx, window, groups, memory,
                                       [&](int64_t) { return epilogue; });
  run_input_grad(pool, all, other, dx, window);
}

// Through relu and up to a normalisation.
void masked_input_grad(ThreadPool& pool, const View& dy, const View& w, const Loaded& x,
                       const ConvolutionInputGrad& d, const Window& window, int64_t groups,
                       float* memory) {
  const int64_t inputs = w.shape.width(), channels = d.dx.shape.channels();
  const ColumnNorm norm(x, inputs, groups);
  const TaskSums task_sums{
      reinterpret_cast<double*>(memory + conv2d_input_grad_floats(dy, w, groups)),
      padded_columns(inputs)};
  const auto all = input_grad_products(pool, dy, w, d.dx, window, groups, memory, [&](int64_t g) {
    return MaskSums{x.x.as<float>(), d.dx.as<float>(), norm.affine(g), task_sums, nullptr};
  });
  double* const sums = d.grad_sums.as<double>();
  std::fill_n(sums, 2 * channels, 0.0);
  const auto add = [&](int64_t task, int64_t group) {
    task_sums.add_to(sums, channels, group * inputs, inputs, task);
  };
  if (is_one_phase(window)) {
    const Scratch<Piece> pieces = pieces_of(all.products);
    run_pieces(pool, all.products, pieces);
    for (size_t i = 0; i < pieces.size(); i++)
      add(static_cast<int64_t>(i), all.group[static_cast<size_t>(pieces[i].product)]);
    return;
  }
  run_phases(pool, all.products, all.gaps, {}, d.dx, window);
  for (int64_t task = 0; task < PhaseBands(d.dx, window).tasks; task++)
    for (size_t i = 0; i < all.group.size(); i++)
      add(task * std::ssize(all.group) + static_cast<int64_t>(i), all.group[i]);
}

size_t masked_input_grad_bytes(const View& dy, const View& w, const View& dx, const Window& window,
                               int64_t groups) {
  const auto floats = static_cast<size_t>(conv2d_input_grad_floats(dy, w, groups)) * sizeof(float);
  int64_t tasks = 0;
  if (is_one_phase(window)) {
    // Tasks are cut by shape alone; views may lack memory.
    const auto phases = input_grad_phases(dy, dx, w.shape.images(), w.shape.height(),
                                          dy.shape.channels() / groups, window, 0);
    Scratch<Product<StoreSum>> products;
    for (int64_t g = 0; g < groups && !phases.empty(); g++)
      products.push_back(
          {phases[0].patches, {nullptr, phases[0].patches.columns, w.shape.width()}, {}, {}});
    tasks = std::ssize(pieces_of(products));
  } else {
    tasks = PhaseBands(dx, window).tasks * groups * std::min(window.stride[0], dx.shape.height()) *
            std::min(window.stride[1], dx.shape.width());
  }
  return floats + 2 * sizeof(double) * static_cast<size_t>(tasks * padded_columns(w.shape.width()));
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

namespace {

// Whether there is nothing to multiply: then dx is `other`, or zero.
bool nothing_to_do(const View& dy, const View& other, const View& dx) {
  if (dx.shape.elements() == 0) return true;
  if (dy.shape.elements() > 0) return false;
  if (other)
    std::memcpy(dx.data, other.data, dx.bytes());
  else
    std::memset(dx.data, 0, dx.bytes());
  return true;
}

}  // namespace

HWY_EXPORT(conv2d_input_grad_target);
HWY_EXPORT(conv2d_input_grad_floats);

size_t conv2d_input_grad_workspace(Stream&, const View& dy, const View& w, const View& dx,
                                   const Window& window, int64_t groups) {
  if (conv2d_input_grad_is_direct(dy, w, dx, window, groups)) return w.bytes();
  return static_cast<size_t>(HWY_DYNAMIC_DISPATCH(conv2d_input_grad_floats)(dy, w, groups)) *
         sizeof(float);
}

void conv2d_input_grad(Stream& stream, const View& dy, const View& w, const View& dx,
                       const Window& window, int64_t groups, void* work) {
  check_conv2d(dx, w, dy, window, groups);
  if (nothing_to_do(dy, {}, dx)) return;
  if (conv2d_input_grad_is_direct(dy, w, dx, window, groups))
    return conv2d_direct_input_grad(stream, dy, w, dx, window, work);
  HWY_DYNAMIC_DISPATCH(conv2d_input_grad_target)
  (*stream.pool, dy, w, dx, window, groups, static_cast<float*>(work));
}

HWY_EXPORT(add_input_grad);
HWY_EXPORT(masked_input_grad);
HWY_EXPORT(masked_input_grad_bytes);

size_t convolution_input_grad_workspace(Stream& stream, const View& dy, const View& w,
                                        const Loaded& x, const View& so_far,
                                        const ConvolutionInputGrad& d, const Window& window,
                                        int64_t groups) {
  if (dy.shape.elements() == 0 || d.dx.shape.elements() == 0) return 0;
  if (x.normalised())
    return HWY_DYNAMIC_DISPATCH(masked_input_grad_bytes)(dy, w, d.dx, window, groups);
  if (so_far.shape.rank() == 0)
    return conv2d_input_grad_workspace(stream, dy, w, d.dx, window, groups);
  return static_cast<size_t>(HWY_DYNAMIC_DISPATCH(conv2d_input_grad_floats)(dy, w, groups)) *
         sizeof(float);
}

void convolution_input_grad(Stream& stream, const View& dy, const View& w, const Loaded& x,
                            const View& so_far, const ConvolutionInputGrad& d, const Window& window,
                            int64_t groups, void* work) {
  if (!x.normalised() && !so_far)
    return conv2d_input_grad(stream, dy, w, d.dx, window, groups, work);
  check_conv2d(d.dx, w, dy, window, groups);
  if (x.normalised()) std::fill_n(d.grad_sums.as<double>(), d.grad_sums.shape.elements(), 0.0);
  if (nothing_to_do(dy, so_far, d.dx)) return;
  ThreadPool& pool = *stream.pool;
  auto* const memory = static_cast<float*>(work);
  if (so_far) {
    HWY_DYNAMIC_DISPATCH(add_input_grad)(pool, dy, w, so_far, d.dx, window, groups, memory);
    return;
  }
  HWY_DYNAMIC_DISPATCH(masked_input_grad)(pool, dy, w, x, d, window, groups, memory);
}

}  // namespace fulmar::cpu
#endif
