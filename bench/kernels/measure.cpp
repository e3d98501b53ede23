#include "bench/kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>

#include "bench/kernels/ceilings.h"
#include "kernels/error.h"

namespace fulmar::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool is(const Device& device, std::string_view backend) { return device.backend().name == backend; }

// The dense product [n, n] x [n, n] as the engine runs it: its operations, and seconds of the
// fastest of five.
struct Product {
  double flops, seconds;
};
Product run_product(Context& context, Device& device, int64_t n) {
  const op_table::Case product{"dense",
                               "ceiling",
                               {op_table::constant_of(op_table::real("x", {1, 1, n, n})),
                                op_table::constant_of(op_table::weight("w", {n, n}))},
                               [](Tape& t, std::span<const Val> x) {
                                 return std::vector<Val>{ops::dense(t, x[0], x[1], Val{})};
                               },
                               0};
  PreparedRow row(context, device, product);
  const Kernel& kernel = row.kernels().front();
  Measured measured(device, row, kernel);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 5; i++) best = std::min(best, measured.round());
  return {kernel.flops, best};
}

// Grown until it takes long enough: slow devices (the emulator) then have a ceiling too, at a size
// that they can take.
constexpr double long_enough = 1e-3;

double product_gflops(Context& context, Device& device, int64_t most) {
  for (int64_t n = 32;; n *= 4) {
    const Product product = run_product(context, device, std::min(n, most));
    if (n >= most || product.seconds > long_enough) return product.flops / product.seconds * 1e-9;
  }
}

// Seconds of the fastest of ten.
double run_copy(Device& device, int64_t bytes) {
  const Backend& backend = device.backend();
  Stream& stream = device.stream();
  const DeviceBuffer from(device, static_cast<size_t>(bytes)), to(device, from.bytes());
  const Shape shape{bytes / 4};
  const View x = view_of(from.data(), shape, DType::f32), y = view_of(to.data(), shape, DType::f32);
  backend.fill(stream, x, 1);
  backend.fill(stream, y, 0);  // touches its memory
  backend.synchronize(stream);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 10; i++) {
    const auto start = Clock::now();
    backend.copy(stream, x, y);
    backend.synchronize(stream);
    best = std::min(best, seconds_since(start));
  }
  return best;
}

}  // namespace

Limits limits_of(const Device& device) {
  constexpr double mib = 1 << 20;
  if (is(device, "cpu")) return {64 * mib, 0, 128 << 20, 0};
  return {256 * mib, device.backend().host_memory ? 0 : 2e-3, int64_t{1} << 30, 8192};
}

double copy_gbytes(Device& device) {
  const int64_t most = limits_of(device).copy_bytes;
  for (int64_t bytes = is(device, "cpu") ? most : 1 << 18;; bytes *= 16) {
    const double seconds = run_copy(device, std::min(bytes, most));
    if (bytes >= most || seconds > long_enough)
      return 2 * static_cast<double>(std::min(bytes, most)) / seconds * 1e-9;
  }
}

Ceilings measure_ceilings(Context& context, Device& device) {
  const Limits limits = limits_of(device);
  Ceilings ceilings;
  ceilings.copy_gbytes = copy_gbytes(device);
  ceilings.gflops = is(device, "cpu") ? fma_gflops(context.pool())
                                      : product_gflops(context, device, limits.product_side);
  return ceilings;
}

Measured::Measured(Device& device, PreparedRow& row, const Kernel& kernel)
    : device_(device), sessions_(row.sessions(kernel)) {
  const Backend& backend = device_.backend();
  run_all();  // binds views, loads code, touches memory
  const double least = limits_of(device_).least_round;
  if (least <= 0) return;
  backend.synchronize(device_.stream());
  const auto start = Clock::now();
  run_all();
  backend.synchronize(device_.stream());
  repeats_ = static_cast<int>(std::clamp(least / seconds_since(start), 1.0, 200.0));
  // A kernel that waits for its result can't be captured.
  if (!backend.begin_capture || kernel.name.starts_with("count_nonfinite")) return;
  // A graph leaves out what the host takes to launch small kernels one by one.
  backend.begin_capture(device_.stream());
  for (int i = 0; i < repeats_; i++) run_all();
  graph_ = backend.end_capture(device_.stream());
  replay();
}

Measured::~Measured() {
  if (graph_) device_.backend().release_graph(device_.stream(), graph_);
}

void Measured::run_all() {
  for (Session& session : sessions_) session.run();
}

void Measured::replay() {
  device_.backend().replay(device_.stream(), graph_);
  device_.backend().synchronize(device_.stream());
}

double Measured::round() {
  const auto start = Clock::now();
  if (graph_) {
    replay();
  } else {
    for (int i = 0; i < repeats_; i++) run_all();
    device_.backend().synchronize(device_.stream());
  }
  return seconds_since(start) / (repeats_ * static_cast<double>(sessions_.size()));
}

Timing measure(Context& context, Device& device, PreparedRow& row, const Kernel& kernel,
               const Ceilings& ceilings, double budget) {
  Timing timing;
  timing.name = kernel.name;
  timing.shapes = kernel.shapes;
  timing.bytes = kernel.bytes(device);
  timing.flops = kernel.flops;
  Measured measured(device, row, kernel);
  std::vector<double> seconds, peaks;
  const auto start = Clock::now();
  while (seconds.size() < 5 || seconds_since(start) < budget) {
    // With AVX-512 a CPU's clock falls within milliseconds: the ceiling is that of the moment.
    if (kernel.flops > 0)
      peaks.push_back(is(device, "cpu") ? fma_gflops(context.pool()) : ceilings.gflops);
    seconds.push_back(measured.round());
  }
  timing.rounds = static_cast<int>(seconds.size());
  timing.seconds = median(seconds);
  if (!peaks.empty()) timing.gflops_ceiling = median(peaks);
  return timing;
}

Selection::Selection(const std::string& filter) {
  try {
    filter_ = std::regex(filter);
  } catch (const std::regex_error& error) {
    usage_error("the filter '" + filter + "' is no regular expression: " + error.what());
  }
}

bool Selection::takes(const Kernel& kernel) {
  if (!std::regex_search(kernel.name, filter_)) return false;
  const std::string op = kernel.name.substr(0, kernel.name.find('/'));
  return taken_.insert(kernel.own ? kernel.name : op + " " + kernel.shapes).second;
}

}  // namespace fulmar::bench
