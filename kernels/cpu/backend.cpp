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

// kernel of a table whose activations are float or bf16
#define FULMAR_KERNEL(name, ...)                                                \
  (bf16 ? in_bf16_table<&cpu::name, !takes_bf16(#name), arguments(__VA_ARGS__), \
                        dense_weights(#name)>()                                 \
        : &cpu::name)
#define FULMAR_WORKSPACE(name)                                              \
  (bf16 ? in_bf16_table<&cpu::name##_workspace, !takes_bf16(#name), 0, 0>() \
        : &cpu::name##_workspace)

FusedKernels fused_kernels(bool bf16) {
  FusedKernels k{};
#define FULMAR_SET(name, ...) k.name = FULMAR_KERNEL(name, __VA_ARGS__);
  FULMAR_FUSED_KERNELS(FULMAR_SET)
#undef FULMAR_SET
#define FULMAR_SET(name) k.name##_workspace = FULMAR_WORKSPACE(name);
  FULMAR_FUSED_WORKSPACE_KERNELS(FULMAR_SET)
#undef FULMAR_SET
  // A picture in memory is rounded where activations are.
  if (!bf16) k.convolution_samples = convolution_samples;
  return k;
}

Backend make(bool bf16, const FusedKernels& fused) {
  Backend b{};
  b.version = Backend::current_version;
  b.name = "cpu";
  b.isa = isa;
  b.real = DType::f32;
  b.activation = bf16 ? DType::bf16 : DType::f32;

  use_host_memory(b);
  b.allocate = allocate;
  b.release = release;

#define FULMAR_SET(name, ...) b.name = FULMAR_KERNEL(name, __VA_ARGS__);
  FULMAR_KERNELS(FULMAR_SET)
#undef FULMAR_SET
#define FULMAR_SET(name) b.name##_workspace = FULMAR_WORKSPACE(name);
  FULMAR_WORKSPACE_KERNELS(FULMAR_SET)
#undef FULMAR_SET
  b.fused = &fused;
  return b;
}
#undef FULMAR_KERNEL
#undef FULMAR_WORKSPACE

}  // namespace
}  // namespace cpu

const Backend& cpu_backend(Precision precision) {
  static const FusedKernels fused[] = {cpu::fused_kernels(false), cpu::fused_kernels(true)};
  static const Backend backends[] = {cpu::make(false, fused[0]), cpu::make(true, fused[1])};
  return backends[precision == Precision::bf16 ? 1 : 0];
}

}  // namespace fulmar
#endif
