#include "tests/support/emulated_bf16.h"

#include <cstring>
#include <deque>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/bf16.h"

namespace fulmar::test {
namespace {

// Rounds by way of float, as a kernel does that computes in float.
void assign(float& to, double value) { to = static_cast<float>(value); }
void assign(bf16& to, double value) { to = to_bf16(static_cast<float>(value)); }

// body(element of view, its number) for all elements, row-major; views may be strided.
template <class T, class Body>
void for_each_element(const View& view, const Body& body) {
  size_t i = 0;
  for (int64_t n = 0; n < view.shape.images(); n++)
    for (int64_t h = 0; h < view.shape.height(); h++)
      for (int64_t w = 0; w < view.shape.width(); w++)
        for (int64_t c = 0; c < view.shape.channels(); c++) body(view.at<T>(n, h, w)[c], i++);
}

// The operands of one call: of each tensor of bf16 or float32 a contiguous copy of type Wide, which
// is rounded back into the tensor after the call. Rounding what was not written changes nothing.
template <class Wide>
class Operands {
 public:
  Operands() = default;
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;
  ~Operands() {
    for (const Copy& copy : copies_) {
      if (copy.original.type == DType::bf16)
        store<bf16>(copy);
      else
        store<float>(copy);
    }
  }

  // Anything but tensors stays as it is.
  template <class T>
  T widened(T argument) {
    return argument;
  }
  View widened(const View& view) {
    if (view.type != DType::bf16 && view.type != DType::f32) return view;
    if (!view.data) return view_of(nullptr, view.shape, dtype_of<Wide>());
    // One output may be an input too: then it is one copy.
    for (const Copy& copy : copies_)
      if (copy.original.data == view.data && copy.original.shape == view.shape) return copy.view;
    copies_.push_back({view, {}, {}});
    Copy& copy = copies_.back();
    copy.values.resize(static_cast<size_t>(view.shape.elements()));
    if (view.type == DType::bf16)
      for_each_element<bf16>(view, [&](bf16 x, size_t i) { copy.values[i] = Wide(to_float(x)); });
    else
      for_each_element<float>(view, [&](float x, size_t i) { copy.values[i] = Wide(x); });
    copy.view = view_of(copy.values.data(), view.shape, dtype_of<Wide>());
    return copy.view;
  }
  Loaded widened(Loaded x) {
    x.x = widened(x.x);
    return x;
  }
  Cotangent widened(Cotangent dy) {
    dy.dy = widened(dy.dy);
    dy.z = widened(dy.z);
    return dy;
  }
  SkipGrad widened(SkipGrad skip) {
    skip.dy = widened(skip.dy);
    skip.w = widened(skip.w);
    return skip;
  }
  NormReluGrad widened(NormReluGrad d) {
    d.g = widened(d.g);
    return d;
  }
  ConvolutionInputGrad widened(ConvolutionInputGrad d) {
    d.dx = widened(d.dx);
    return d;
  }
  SeparableGrad widened(SeparableGrad d) {
    d.dx = widened(d.dx);
    return d;
  }
  std::span<const View> widened(std::span<const View> views) {
    lists_.emplace_back();
    for (const View& view : views) lists_.back().push_back(widened(view));
    return lists_.back();
  }

 private:
  struct Copy {
    View original;
    std::vector<Wide> values;
    View view;
  };
  template <class T>
  static void store(const Copy& copy) {
    for_each_element<T>(copy.original,
                        [&](T& x, size_t i) { assign(x, static_cast<double>(copy.values[i])); });
  }

  std::deque<Copy> copies_;
  std::deque<std::vector<View>> lists_;
};

// A tensor of weights, rounded to bf16.
class RoundedWeights {
 public:
  explicit RoundedWeights(const View& w) : view_(w) {
    view_.type = DType::bf16;
    if (!w.data) return;
    values_.resize(static_cast<size_t>(w.shape.elements()));
    for_each_element<float>(w, [&](float x, size_t i) { values_[i] = to_bf16(x); });
    view_ = view_of(values_.data(), w.shape, DType::bf16);
  }
  const View& view() const { return view_; }

 private:
  std::vector<bf16> values_;
  View view_;
};

using Base = const Backend& (*)();

// Of the CPU's fused kernels too: the reference has none.
template <auto member>
struct EmulatedFused;
template <class R, class... A, R (*FusedKernels::*member)(Stream&, A...)>
struct EmulatedFused<member> {
  static R run(Stream& stream, A... arguments) {
    Operands<float> operands;
    return (cpu_backend().fused->*member)(stream, operands.widened(arguments)...);
  }
};

FusedKernels emulated_fused() {
  FusedKernels k{};
#define FULMAR_EMULATE(function, ...) k.function = EmulatedFused<&FusedKernels::function>::run;
  FULMAR_FUSED_KERNELS(FULMAR_EMULATE)
#undef FULMAR_EMULATE
#define FULMAR_EMULATE(function) \
  k.function##_workspace = EmulatedFused<&FusedKernels::function##_workspace>::run;
  FULMAR_FUSED_WORKSPACE_KERNELS(FULMAR_EMULATE)
#undef FULMAR_EMULATE
  k.separable = [](Stream& stream, const Loaded& x, const View& depthwise, const View& pointwise,
                   const View& bias, const View& shift, const View& y, const View& sums,
                   void* work) {
    EmulatedFused<&FusedKernels::separable>::run(
        stream, x, depthwise, RoundedWeights(pointwise).view(), bias, shift, y, sums, work);
  };
  k.separable_grad = [](Stream& stream, const Cotangent& dy, const Loaded& x, const View& depthwise,
                        const View& pointwise, const SkipGrad& skip, const SeparableGrad& d,
                        void* work) {
    const RoundedWeights of_skip(skip.w);
    EmulatedFused<&FusedKernels::separable_grad>::run(stream, dy, x, depthwise,
                                                      RoundedWeights(pointwise).view(),
                                                      {skip.dy, of_skip.view()}, d, work);
  };
  k.pool_skip = [](Stream& stream, const Loaded& z, const Loaded& u, const View& w,
                   const View& bias, const View& y, const View& pooled, const View& argmax) {
    EmulatedFused<&FusedKernels::pool_skip>::run(stream, z, u, RoundedWeights(w).view(), bias, y,
                                                 pooled, argmax);
  };
  k.convolution = [](Stream& stream, const Loaded& x, const View& w, const View& bias,
                     const View& shift, const View& y, const View& sums, const Window& window,
                     int64_t groups, void* work) {
    EmulatedFused<&FusedKernels::convolution>::run(stream, x, RoundedWeights(w).view(), bias, shift,
                                                   y, sums, window, groups, work);
  };
  k.convolution_input_grad = [](Stream& stream, const View& dy, const View& w, const Loaded& x,
                                const View& so_far, const ConvolutionInputGrad& d,
                                const Window& window, int64_t groups, void* work) {
    EmulatedFused<&FusedKernels::convolution_input_grad>::run(stream, dy, RoundedWeights(w).view(),
                                                              x, so_far, d, window, groups, work);
  };
  return k;
}

// The function `member` of `base`, on widened operands.
template <Base base, class Wide, auto member>
struct Emulated;
template <Base base, class Wide, class R, class... A, R (*Backend::*member)(Stream&, A...)>
struct Emulated<base, Wide, member> {
  static R run(Stream& stream, A... arguments) {
    Operands<Wide> operands;
    return (base().*member)(stream, operands.widened(arguments)...);
  }
};

const Backend& float_cpu() { return cpu_backend(); }

template <Base base, class Wide>
Backend emulated(const char* name) {
  Backend b = base();
  b.name = name;
  b.real = DType::f32;
  b.activation = DType::bf16;
#define FULMAR_EMULATE(function, ...) b.function = Emulated<base, Wide, &Backend::function>::run;
  FULMAR_KERNELS(FULMAR_EMULATE)
#undef FULMAR_EMULATE
#define FULMAR_EMULATE(function) \
  b.function##_workspace = Emulated<base, Wide, &Backend::function##_workspace>::run;
  FULMAR_WORKSPACE_KERNELS(FULMAR_EMULATE)
#undef FULMAR_EMULATE
  b.conv2d = [](Stream& stream, const View& x, const View& w, const View& bias, const View& y,
                const Window& window, int64_t groups, void* work) {
    Emulated<base, Wide, &Backend::conv2d>::run(stream, x, RoundedWeights(w).view(), bias, y,
                                                window, groups, work);
  };
  b.conv2d_input_grad = [](Stream& stream, const View& dy, const View& w, const View& dx,
                           const Window& window, int64_t groups, void* work) {
    Emulated<base, Wide, &Backend::conv2d_input_grad>::run(stream, dy, RoundedWeights(w).view(), dx,
                                                           window, groups, work);
  };
  return b;
}

}  // namespace

const Backend& emulated_bf16() {
  static const Backend backend = emulated<reference_backend, double>("emulated bf16");
  return backend;
}

const Backend& emulated_bf16_by_cpu() {
  static const FusedKernels fused = emulated_fused();
  static const Backend backend = [] {
    Backend b = emulated<float_cpu, float>("emulated bf16 by cpu");
    b.fused = &fused;
    return b;
  }();
  return backend;
}

}  // namespace fulmar::test
