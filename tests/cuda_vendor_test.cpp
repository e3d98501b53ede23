#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/vendor.h"
#include "tests/support/error_of.h"

// What of the vendor's libraries can be seen without a GPU: cuDNN tells of engines, and plans them,
// for a GPU that is described to it; nothing is run.
namespace fulmar::test {
namespace {

using namespace cuda;
using cudnn::ConvolutionGraph;
using cudnn::EngineConfig;
using cudnn::Target;

// As CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION has it in cuDNN 9.19.
const char* const h100 = R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],
  "regsPerBlock":65536,"multiProcessorCount":132,"warpSize":32,"maxSharedMemoryPerBlock":49152,
  "maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,
  "maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,
  "pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":85000000000,
  "smClockRateKHz":1980000,"memClockRateKHz":2619000,"l2CacheSize":52428800,"cudaDeviceId":0,
  "deviceName":"NVIDIA H100 80GB HBM3","deviceVer":900,"driverVer":13000})";

// Null, with a message, where this cuDNN has no such descriptions.
const Target* described() {
  static Target target;
  static const std::string why_not =
      error_of(ErrorKind::device, [] { target = Target::described_by(h100, 90); });
  if (why_not == "no error") return &target;
  MESSAGE("not asked of this version: ", why_not);
  REQUIRE_MESSAGE(CUDNN_VERSION / 100 != 919, "this is the version that the text is of");
  return nullptr;
}

struct Layer {
  Shape x;
  std::array<int64_t, 2> taps;
  int64_t filters;
  Window window;
  int64_t groups = 1;
};
const Window same{{1, 1}, {1, 1}, {1, 1, 1, 1}};

const Layer layers[] = {
    {{16, 1024, 1024, 3}, {3, 3}, 8, {{2, 2}, {1, 1}, {0, 1, 0, 1}}},  // the network's stem
    {{16, 512, 512, 8}, {1, 1}, 16, {{2, 2}, {1, 1}, {}}},             // and a shortcut of it
    {{2, 64, 64, 32}, {3, 3}, 64, same},
    {{2, 6, 5, 3}, {3, 3}, 4, same},
    {{2, 1, 1, 4}, {3, 3}, 5, same},
    {{2, 6, 6, 1}, {3, 3}, 1, same},
    {{2, 8, 9, 3}, {2, 2}, 4, {{3, 3}, {1, 1}, {}}},
    {{1, 11, 10, 2}, {5, 5}, 3, {{1, 1}, {2, 2}, {4, 4, 4, 4}}},
    {{1, 4, 3, 2}, {3, 3}, 3, {{1, 1}, {4, 4}, {4, 4, 4, 4}}},
    {{2, 9, 8, 3}, {5, 2}, 4, {{3, 2}, {1, 3}, {3, 0, 1, 2}}},
    {{1, 3, 3, 2}, {3, 3}, 2, {{2, 1}, {1, 1}, {5, 4, 3, 6}}},
    {{2, 5, 6, 6}, {3, 3}, 4, same, 2},
    {{1, 12, 12, 64}, {3, 3}, 96, same, 4},
    {{1, 3, 4, 5}, {1, 1}, 10, {}, 5},
    {{1, 4, 5, 17}, {3, 3}, 19, same},
};

DenseProblem problem_of(const Layer& l, Product product, Precision precision) {
  const Window& window = l.window;
  const auto extent = [&](int axis) {
    const size_t a = static_cast<size_t>(axis);
    return window_extent(l.x[axis + 1], l.taps[a], window.stride[a], window.dilation[a],
                         window.padding[2 * a], window.padding[2 * a + 1]);
  };
  return {product,
          precision,
          l.x,
          {l.taps[0], l.taps[1], l.x[3] / l.groups, l.filters},
          {l.x[0], extent(0), extent(1), l.filters},
          window,
          l.groups,
          false};
}

std::vector<EngineConfig> engines(const ConvolutionGraph& graph, bool nondeterministic = false) {
  std::vector<EngineConfig> all = graph.proposals(CUDNN_HEUR_MODE_A, nondeterministic);
  for (const EngineConfig& more : graph.proposals(CUDNN_HEUR_MODE_FALLBACK, nondeterministic))
    all.push_back(more);
  return all;
}
std::vector<std::string> texts(const std::vector<EngineConfig>& configs) {
  std::vector<std::string> all;
  for (const EngineConfig& config : configs) all.push_back(config.text());
  std::sort(all.begin(), all.end());
  return all;
}

constexpr Product products[] = {Product::forward, Product::input_grad, Product::weight_grad};
constexpr Precision precisions[] = {Precision::fp32, Precision::tf32, Precision::bf16};

}  // namespace

TEST_CASE("cuda vendor: a problem's text and numbers tell it apart") {
  DenseProblem p = problem_of(layers[0], Product::forward, Precision::tf32);
  p.bias = true;
  CHECK(p.text() ==
        "conv2d tf32 x[16,1024,1024,3] w[3,3,3,8] y[16,512,512,8] stride 2,2 dilation 1,1 padding "
        "0,1,0,1 groups 1 bias");
  std::vector<std::vector<int64_t>> numbers;
  std::vector<std::string> lines;
  for (const Layer& layer : layers)
    for (const Product product : products)
      for (const Precision precision : precisions) {
        numbers.push_back(problem_of(layer, product, precision).numbers());
        lines.push_back(problem_of(layer, product, precision).text());
      }
  std::sort(numbers.begin(), numbers.end());
  std::sort(lines.begin(), lines.end());
  CHECK(std::adjacent_find(numbers.begin(), numbers.end()) == numbers.end());
  CHECK(std::adjacent_find(lines.begin(), lines.end()) == lines.end());
}

TEST_CASE("cuda vendor: matrix products are 1x1, with stride 1, without padding or groups") {
  const Layer plain{{2, 5, 4, 6}, {1, 1}, 10, {}};
  CHECK(problem_of(plain, Product::forward, Precision::fp32).is_matrix_product());
  Layer other = plain;
  other.window.stride = {1, 2};
  CHECK(!problem_of(other, Product::forward, Precision::fp32).is_matrix_product());
  other = plain;
  other.window.padding = {0, 0, 0, 1};
  CHECK(!problem_of(other, Product::forward, Precision::fp32).is_matrix_product());
  other = plain;
  other.groups = 2;
  CHECK(!problem_of(other, Product::forward, Precision::fp32).is_matrix_product());
  other = plain;
  other.taps = {1, 2};
  CHECK(!problem_of(other, Product::forward, Precision::fp32).is_matrix_product());
}

TEST_CASE("cuda vendor: cuDNN has an allowed engine for every layer, product and precision") {
  const Target* target = described();
  if (!target) return;
  size_t planned = 0;
  for (const Layer& layer : layers)
    for (const Product product : products)
      for (const Precision precision : precisions) {
        const DenseProblem problem = problem_of(layer, product, precision);
        INFO(problem.text());
        std::string why_not;
        const ConvolutionGraph graph(problem, *target, why_not);
        REQUIRE_MESSAGE(!graph.is_empty(), why_not);
        size_t found = 0;
        for (const EngineConfig& config : engines(graph)) {
          const cudnn::ExecutionPlan plan = graph.plan(config, why_not);
          if (!plan) continue;
          found++;
          // The same again from its text.
          const cudnn::ExecutionPlan again =
              graph.plan(EngineConfig::parse(config.text()), why_not);
          REQUIRE(again.plan.get() != nullptr);
          const auto workspace = CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE;
          CHECK(again.plan.get_int64(workspace, "") == plan.plan.get_int64(workspace, ""));
        }
        // Of other versions the plain kernels may have to do it.
        if (CUDNN_VERSION / 100 == 919)
          CHECK(found > 0);
        else
          WARN(found > 0);
        planned += found;
      }
  MESSAGE(planned, " plans");
}

TEST_CASE("cuda vendor: fp32 has fewer engines than tf32, and nondeterministic ones are extra") {
  const Target* target = described();
  if (!target) return;
  const auto found = [&](Product product, Precision precision, bool nondeterministic) {
    std::string why_not;
    const ConvolutionGraph graph(problem_of(layers[2], product, precision), *target, why_not);
    return texts(engines(graph, nondeterministic));
  };
  for (const Product product : products) {
    const auto fp32 = found(product, Precision::fp32, false);
    const auto tf32 = found(product, Precision::tf32, false);
    const auto loose = found(product, Precision::fp32, true);
    CHECK(fp32.size() < tf32.size());
    CHECK(std::includes(tf32.begin(), tf32.end(), fp32.begin(), fp32.end()));
    CHECK(std::includes(loose.begin(), loose.end(), fp32.begin(), fp32.end()));
    if (product != Product::forward) CHECK(loose.size() > fp32.size());
  }
}

TEST_CASE("cuda vendor: engines are allowed by their notes") {
  using Notes = std::vector<cudnnBackendNumericalNote_t>;
  const auto check = [](const Notes& notes, bool fp32, bool tf32, bool loose) {
    CAPTURE(notes.size());
    CHECK(cudnn::is_allowed(notes, Precision::fp32, false) == fp32);
    CHECK(cudnn::is_allowed(notes, Precision::tf32, false) == tf32);
    CHECK(cudnn::is_allowed(notes, Precision::bf16, false) == tf32);
    CHECK(cudnn::is_allowed(notes, Precision::tf32, true) == loose);
  };
  check({}, true, true, true);
  check({CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, true, true, true);
  check({CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, false, true, true);
  check({CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, false, false, true);
  check({CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION}, false, false, false);
  check({CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS}, false, false,
        false);
  check({CUDNN_NUMERICAL_NOTE_WINOGRAD}, false, false, false);
  check({CUDNN_NUMERICAL_NOTE_FFT}, false, false, false);
}

TEST_CASE("cuda vendor: engines that are known to be bad, by product, version and GPU") {
  using cudnn::is_known_bad;
  for (const int sm : {80, 90, 120}) {
    CHECK(is_known_bad(Product::input_grad, 23, 91900, sm));
    CHECK(is_known_bad(Product::forward, 23, 90800, sm));
    CHECK(is_known_bad(Product::forward, 23, 91500, sm));
    CHECK(!is_known_bad(Product::forward, 23, 90799, sm));
    CHECK(!is_known_bad(Product::forward, 23, 91900, sm));
    CHECK(!is_known_bad(Product::weight_grad, 23, 91900, sm));
    CHECK(!is_known_bad(Product::input_grad, 24, 91900, sm));
    CHECK(is_known_bad(Product::forward, 58, 92300, sm) == (sm == 120));
    CHECK(is_known_bad(Product::input_grad, 63, 99999, sm) == (sm == 120));
    CHECK(is_known_bad(Product::weight_grad, 63, 92300, sm) == (sm == 120));
    CHECK(!is_known_bad(Product::weight_grad, 63, 92299, sm));
    CHECK(!is_known_bad(Product::forward, 5, 92301, sm));
  }
  CHECK(is_known_bad(Product::forward, 5, 92301, 86));
  CHECK(!is_known_bad(Product::forward, 5, 92401, 86));
}

TEST_CASE("cuda vendor: engines as text, and text that is none") {
  CHECK(EngineConfig{5, {}}.text() == "cudnn engine 5");
  CHECK(EngineConfig::parse("cudnn engine 5").knobs.empty());
  const EngineConfig config = EngineConfig::parse("cudnn engine 67 knobs 2:4,12:-1,28:1");
  CHECK(config.engine == 67);
  CHECK(config.knobs == std::vector<std::pair<int64_t, int64_t>>{{2, 4}, {12, -1}, {28, 1}});
  CHECK(config.text() == "cudnn engine 67 knobs 2:4,12:-1,28:1");
  for (const char* bad :
       {"", "cudnn", "cudnn engine", "cudnn engine x", "cudnn engine 5 ", "cudnn engine 5 knobs",
        "cudnn engine 5 knobs 2", "cudnn engine 5 knobs 2:", "cudnn engine 5 knobs 2:4,",
        "cudnn engine 5 knobs 2:4 13:0", "cudnn engine 05", "cudnn engine 5 knobs 2:4,13:0x"})
    CHECK(has(error_of(ErrorKind::file, [&] { EngineConfig::parse(bad); }), "should read as"));
}

TEST_CASE("cuda vendor: what cuDNN refuses is told with the call and the problem") {
  const Target* target = described();
  if (!target) return;
  const DenseProblem good = problem_of(layers[2], Product::forward, Precision::fp32);
  std::string why_not;
  const ConvolutionGraph graph(good, *target, why_not);
  REQUIRE(!graph.is_empty());
  // An engine that there isn't is one that isn't supported; a stored choice of it says so.
  CHECK(!graph.plan({9999, {}}, why_not));
  CHECK(has(why_not, "CUDNN_STATUS_NOT_SUPPORTED"));
  DenseProblem wrong = good;
  wrong.y[3] = 63;  // not the number of filters
  const std::string text =
      error_of(ErrorKind::device, [&] { ConvolutionGraph(wrong, *target, why_not); });
  MESSAGE(text);
  CHECK(has(text, "cuda: cudnnBackendFinalize: CUDNN_STATUS_BAD_PARAM"));
  CHECK(has(text, ": conv2d fp32 x[2,64,64,32] w[3,3,32,64] y[2,64,64,63] stride"));
}

TEST_CASE("cuda vendor: without a GPU cuDNN and cuBLASLt say which call fails") {
  cudnnHandle_t handle = nullptr;
  const cudnnStatus_t status = cudnnCreate(&handle);
  if (status == CUDNN_STATUS_SUCCESS) {
    cudnnDestroy(handle);
    MESSAGE("not asked here: there is a GPU");
    return;
  }
  const std::string text =
      error_of(ErrorKind::device, [&] { cudnn::check(status, "cudnnCreate", "a problem"); });
  MESSAGE(text);
  CHECK(has(text, "cuda: cudnnCreate: CUDNN_STATUS_"));
  CHECK(has(text, ": a problem"));
  CHECK(has(error_of(ErrorKind::device,
                     [&] { cublaslt::check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmul", "p"); }),
            "cuda: cublasLtMatmul: CUBLAS_STATUS_NOT_SUPPORTED: "));
}

TEST_CASE("cuda vendor: a library may be newer than the one built with, within its major version") {
  CHECK(error_of(ErrorKind::device, [] { check_versions(); }) == "no error");
  const auto refusal = [](int built, int loaded) {
    return error_of(ErrorKind::device, [&] { check_version("cuDNN", built, loaded); });
  };
  for (const int good : {91900, 91901, 92000}) CHECK(refusal(91900, good) == "no error");
  for (const int bad : {91800, 91899, 81900, 100000})
    CHECK(has(refusal(91900, bad), "was built with cuDNN 9.19.0, and "));
  CHECK(has(refusal(91900, 90201), "and 9.2.1 is loaded"));
}

TEST_CASE("cuda vendor: descriptors of matrix products are made without a GPU") {
  for (const Product product : products)
    for (const Precision precision : precisions) {
      DenseProblem problem = problem_of({{2, 5, 4, 6}, {1, 1}, 10, {}}, product, precision);
      problem.bias = product == Product::forward;
      CHECK(error_of(ErrorKind::device, [&] { cublaslt::Descriptors made(problem); }) ==
            "no error");
    }
}

TEST_CASE("cuda vendor: algorithms of cuBLASLt as text, and text that is none") {
  cublaslt::Algorithm algorithm;
  for (size_t i = 0; i < 8; i++) algorithm.algorithm.data[i] = 0x0123456789abcdefu * (i + 1);
  algorithm.workspace_bytes = 4194304;
  const std::string text = algorithm.text();
  CHECK(has(text, "cublaslt workspace 4194304 algorithm 0123456789abcdef"));
  const cublaslt::Algorithm again = cublaslt::Algorithm::parse(text);
  CHECK(again.text() == text);
  CHECK(std::memcmp(&again.algorithm, &algorithm.algorithm, sizeof algorithm.algorithm) == 0);
  std::string letter = text;
  letter.back() = 'x';
  for (const std::string& bad :
       {std::string(), std::string("cublaslt"), text.substr(0, text.size() - 1), text + "0", letter,
        "x" + text, std::string("cublaslt workspace algorithm "),
        std::string("cublaslt workspace -1 algorithm ") + text.substr(38)})
    CHECK(
        has(error_of(ErrorKind::file, [&] { cublaslt::Algorithm::parse(bad); }), "should read as"));
}

}  // namespace fulmar::test
