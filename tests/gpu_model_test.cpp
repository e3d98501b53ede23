#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "bench/gpu/gpu.h"
#include "bench/gpu/launches.h"
#include "bench/gpu/predict.h"
#include "bench/gpu/resources.h"
#include "tests/support/error_of.h"

namespace fulmar::test {
namespace {

using bench::Gpu;
using bench::Prediction;
using bench::Resources;
using bench::ResourceTable;
using counted::Launch;

// As many blocks of 256 threads as there is room for, `waves` times; each warp reads and writes 512
// bytes in whole sectors.
Launch copy_of(const Gpu& gpu, uint64_t waves) {
  Launch l;
  l.name = "copy";
  l.block = {256, 1, 1};
  const uint64_t resident = gpu.threads / 256;
  l.grid = {static_cast<uint32_t>(gpu.processors) * static_cast<uint32_t>(resident * waves), 1, 1};
  const uint64_t warps = l.blocks() * 8;
  for (counted::Traffic* t : {&l.loads, &l.stores})
    *t = {.requests = warps,
          .sectors = warps * 16,
          .used_bytes = warps * 512,
          .unique_sectors = warps * 16};
  l.caches.l2_sectors = warps * 32;
  l.caches.read = l.caches.written = warps * 16;
  return l;
}

double part(const Prediction& p, const std::string& what) {
  for (const Prediction::Part& one : p.parts)
    if (one.what == what) return one.seconds;
  return -1;
}

// What is in an unnamed namespace, as nvcc and as g++ name it.
const std::string of_nvcc =
    "_ZN6fulmar4cuda11each_kernelINS0_46_GLOBAL__N__7588d617_13_batch_norm_cu_5db6940b9ParamGradE"
    "EEvlT_";
const std::string of_gcc = "_ZN6fulmar4cuda11each_kernelINS0_12_GLOBAL__N_19ParamGradEEEvlT_";

// As cuobjdump of CUDA 13 prints it.
const std::string dumped = R"(
Fatbin ptx code:
================
arch = sm_90
code version = [9,0]

Fatbin elf code:
================
arch = sm_80

Resource usage:
 Common:
  GLOBAL:0
 Function )" + of_nvcc + R"(:
  REG:32 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:584 TEXTURE:0 SURFACE:0 SAMPLER:0

Fatbin elf code:
================
arch = sm_90

Resource usage:
 Common:
  GLOBAL:0
 Function )" + of_nvcc + R"(:
  REG:42 STACK:16 SHARED:0 LOCAL:0 CONSTANT[0]:584 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function plain:
  REG:255 STACK:128 SHARED:0 LOCAL:0 CONSTANT[0]:584 TEXTURE:0 SURFACE:0 SAMPLER:0
)";

}  // namespace

TEST_CASE("gpu model: a large copy takes its bytes over the bandwidth") {
  for (const Gpu& gpu : bench::known_gpus()) {
    CAPTURE(gpu.name);
    const Launch l = copy_of(gpu, 200);
    const Prediction p = bench::predict(gpu, l, std::nullopt);
    const double bytes = static_cast<double>(l.blocks()) * 8 * 1024;
    CHECK(p.bound() == "memory");
    CHECK(p.seconds == doctest::Approx(bytes / (gpu.memory_gbytes * 1e9) + 2e-6));
    CHECK(p.occupancy == 1);
  }
}

TEST_CASE("gpu model: twice the sectors take twice the time, fewer warps can't fill the memory") {
  const Gpu& gpu = bench::gpu_named("h200");
  Launch l = copy_of(gpu, 200);
  const double once = bench::predict(gpu, l, std::nullopt).seconds - 2e-6;
  l.caches.read *= 2;
  l.caches.written *= 2;
  CHECK(bench::predict(gpu, l, std::nullopt).seconds - 2e-6 == doctest::Approx(2 * once));

  // What leaves L2 in a launch that asks for nothing itself.
  Launch quiet;
  quiet.block = {32, 1, 1};
  quiet.grid = {1, 1, 1};
  quiet.caches.written = 1000;
  CHECK(part(bench::predict(gpu, quiet, std::nullopt), "memory") ==
        doctest::Approx(32000 / 4300e9));

  // One block for the same work: two loads of 512 bytes in 600 ns by each of 8 warps.
  l = copy_of(gpu, 200);
  const double bytes = static_cast<double>(l.blocks()) * 8 * 1024;
  l.grid = {1, 1, 1};
  CHECK(part(bench::predict(gpu, l, std::nullopt), "memory") ==
        doctest::Approx(bytes / (8 * 2 * 512 / 600e-9)));
}

TEST_CASE("gpu model: arithmetic by kind, on the processors that have blocks") {
  const Gpu& gpu = bench::gpu_named("h200");
  Launch l;
  l.block = {128, 1, 1};
  l.grid = {132 * 4, 1, 1};
  l.warps.fma32 = 132ull * 4 * 4 * 1000000;
  Prediction p = bench::predict(gpu, l, std::nullopt);
  CHECK(p.bound() == "issue");  // 4 warps a clock, as fp32
  CHECK(part(p, "fp32") == doctest::Approx(4e6 / 1.98e9));
  // Half of the processors have nothing to do.
  l.grid = {66, 1, 1};
  CHECK(part(bench::predict(gpu, l, std::nullopt), "fp32") == doctest::Approx(32e6 / 1.98e9 / 4));

  l = {};
  l.block = {128, 1, 1};
  l.grid = {132, 1, 1};
  l.warps.fma64 = 132 * 1000000;
  for (const auto& [name, rate] :
       {std::pair("h200", 64.0), std::pair("a100", 32.0), std::pair("rtx-4090", 2.0)}) {
    const Gpu& other = bench::gpu_named(name);
    l.grid = {static_cast<uint32_t>(other.processors), 1, 1};
    p = bench::predict(other, l, std::nullopt);
    CHECK(part(p, "fp64") ==
          doctest::Approx(132e6 * 32 / rate / other.processors / (other.clock_ghz * 1e9)));
    CHECK(p.bound() == "fp64");
  }

  l = {};
  l.block = {32, 1, 1};
  l.grid = {132, 1, 1};
  l.shared.wavefronts = 132 * 32000;
  p = bench::predict(gpu, l, std::nullopt);
  CHECK(p.bound() == "shared memory");
  CHECK(p.seconds == doctest::Approx(32000 / 1.98e9 + 2e-6));
}

TEST_CASE("gpu model: resident blocks by threads, blocks, registers and shared memory") {
  const auto blocks = [](const char* gpu, uint64_t threads, uint64_t registers, uint64_t shared) {
    return bench::resident_blocks(bench::gpu_named(gpu), threads, Resources{registers, 0}, shared);
  };
  CHECK(blocks("h200", 256, 32, 0) == 8);
  CHECK(blocks("h200", 256, 33, 0) == 6);  // 40 a thread: 1280 a warp, 51 warps
  CHECK(blocks("h200", 256, 255, 0) == 1);
  CHECK(blocks("h200", 32, 16, 0) == 32);
  CHECK(blocks("rtx-4090", 32, 16, 0) == 24);
  CHECK(blocks("rtx-4090", 256, 32, 0) == 6);
  CHECK(blocks("a100", 128, 32, 40 * 1024) == 4);
  CHECK(blocks("h200", 128, 32, 40 * 1024) == 5);
  CHECK(blocks("h200", 128, 32, 227 * 1024) == 1);
  CHECK(blocks("rtx-4090", 128, 32, 99 * 1024) == 1);
  CHECK(bench::resident_blocks(bench::gpu_named("h200"), 256, std::nullopt, 0) == 8);
}

TEST_CASE(
    "gpu model: what the compiler says of kernels, by architecture, in other words for names") {
  const ResourceTable table = ResourceTable::parse(dumped, 90);
  CHECK(table.missing() == "");
  CHECK(table.size() == 2);
  REQUIRE(table.of(of_gcc));
  CHECK(table.of(of_gcc)->registers == 42);
  CHECK(table.of(of_gcc)->stack == 16);
  CHECK(ResourceTable::parse(dumped, 80).of(of_gcc)->registers == 32);
  CHECK_FALSE(table.of(""));
  CHECK_FALSE(table.of("_Zother"));
  CHECK(has(ResourceTable::parse(dumped, 89).missing(), "no code for sm_89"));
  CHECK(has(ResourceTable::read("", 90).missing(), "library is not there"));
}

TEST_CASE("gpu model: counts go on along the line through two sizes") {
  const auto launch = [](const char* name, uint64_t sectors) {
    Launch l;
    l.name = name;
    l.grid = {2, 2, 1};
    l.block = {64, 1, 1};
    l.loads.sectors = l.loads.unique_sectors = sectors;
    l.shared.worst = 3;
    return l;
  };
  const std::vector<Launch> scaled = bench::scaled_to(
      1000, {10, {launch("grows", 20), launch("stays", 7), launch("grows", 11)}},
      {20, {launch("grows", 40), launch("stays", 7), launch("grows", 12), launch("new", 6)}});
  REQUIRE(scaled.size() == 4);
  CHECK(scaled[0].loads.sectors == 2000);
  CHECK(scaled[0].caches.read == 2000);  // whatever L2 held at the small sizes
  CHECK(scaled[1].loads.sectors == 7);
  CHECK(scaled[2].loads.sectors == 110);
  CHECK(scaled[3].loads.sectors == 300);
  CHECK(scaled[3].blocks() == 200);
  Launch few = launch("idle", 1), many = launch("idle", 1);
  few.lane_runs = 32;
  few.lane_slots = many.lane_runs = many.lane_slots = 64;
  CHECK(bench::scaled_to(1000, {10, {few}}, {20, {many}})[0].idle_share() == 0);
  few.loads = {1, 10, 320, 10};
  many.loads = {1, 11, 352, 11};
  few.caches.l1_hits = 2;
  many.caches.l1_hits = 9;
  const Launch far = bench::scaled_to(1000, {10, {few}}, {20, {many}})[0];
  CHECK(far.loads.used_share() <= 1);
  CHECK(far.caches.l1_hits + far.caches.l2_sectors == far.loads.sectors);
  // Which of one kernel's launches belong together is not known where their number differs.
  const std::vector<Launch> split = bench::scaled_to(
      1000, {10, {launch("split", 9)}}, {20, {launch("split", 4), launch("split", 6)}});
  CHECK(split[0].loads.sectors == 200);
  CHECK(split[1].loads.sectors == 300);
  CHECK(scaled[0].blocks() == 4);
  CHECK(scaled[0].threads() == 64);
  CHECK(scaled[0].shared.worst == 3);
}

TEST_CASE("gpu model: launches add up, the worst conflict stays the worst") {
  Launch sum, one;
  one.loads.requests = 3;
  one.lanes.fma32 = 5;
  one.warps.control = 7;
  one.shared.worst = 2;
  bench::add(sum, one);
  bench::add(sum, one);
  CHECK(sum.loads.requests == 6);
  CHECK(sum.lanes.flops32() == 20);
  CHECK(sum.warps.control == 14);
  CHECK(sum.shared.worst == 2);
}

TEST_CASE("gpu model: a GPU that nobody knows is an error") {
  CHECK(has(error_of(ErrorKind::usage, [] { bench::gpu_named("h300"); }), "'h300'"));
}

}  // namespace fulmar::test
