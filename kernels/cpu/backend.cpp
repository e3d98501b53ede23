#include "kernels/backend.h"

#include "kernels/cpu/bf16_table.h"
#include "kernels/cpu/ops.h"
#include "kernels/host_memory.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/backend.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Highway's name, but for "AVX3", which nobody else calls so.
const char* isa() { return HWY_TARGET == HWY_AVX3 ? "AVX-512" : hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar {
namespace cpu {

HWY_EXPORT(isa);
const char* isa() { return HWY_DYNAMIC_DISPATCH(isa)(); }

namespace {

#define FULMAR_SET(name, ...) k.name = cpu::name;
#define FULMAR_SET_WORKSPACE(name) k.name##_workspace = cpu::name##_workspace;
#define FULMAR_ADAPT(name, ...) \
  if constexpr (Adaptation(#name).is_needed()) k.name = Adapted<&cpu::name>::run<Adaptation(#name)>;
#define FULMAR_ADAPT_WORKSPACE(name)                                    \
  if constexpr (Adaptation(#name).is_needed()) {                        \
    using Kernel = AdaptedWithWork<&cpu::name, &cpu::name##_workspace>; \
    k.name = Kernel::run<Adaptation(#name)>;                            \
    k.name##_workspace = Kernel::bytes<Adaptation(#name)>;              \
  }

FusedKernels fused_kernels(bool bf16) {
  FusedKernels k{};
  FULMAR_FUSED_KERNELS(FULMAR_SET)
  FULMAR_FUSED_WORKSPACE_KERNELS(FULMAR_SET_WORKSPACE)
  if (!bf16) {
    // A picture in memory is rounded where activations are.
    k.convolution_samples = convolution_samples;
    return k;
  }
  FULMAR_FUSED_KERNELS(FULMAR_ADAPT)
  FULMAR_FUSED_WORKSPACE_KERNELS(FULMAR_ADAPT_WORKSPACE)
  return k;
}

Backend make(bool bf16, const FusedKernels& fused) {
  Backend k{};
  k.version = Backend::current_version;
  k.name = "cpu";
  k.isa = isa;
  k.real = DType::f32;
  k.activation = bf16 ? DType::bf16 : DType::f32;
  k.fused = &fused;

  use_host_memory(k);
  k.allocate = allocate;
  k.release = release;

  FULMAR_KERNELS(FULMAR_SET)
  FULMAR_WORKSPACE_KERNELS(FULMAR_SET_WORKSPACE)
  if (!bf16) return k;
  FULMAR_KERNELS(FULMAR_ADAPT)
  FULMAR_WORKSPACE_KERNELS(FULMAR_ADAPT_WORKSPACE)
  return k;
}
#undef FULMAR_SET
#undef FULMAR_SET_WORKSPACE
#undef FULMAR_ADAPT
#undef FULMAR_ADAPT_WORKSPACE

}  // namespace
}  // namespace cpu

const Backend& cpu_backend(Precision precision) {
  static const FusedKernels fused[] = {cpu::fused_kernels(false), cpu::fused_kernels(true)};
  static const Backend backends[] = {cpu::make(false, fused[0]), cpu::make(true, fused[1])};
  return backends[precision == Precision::bf16 ? 1 : 0];
}

}  // namespace fulmar
#endif
