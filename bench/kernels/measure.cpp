#include "bench/kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "bench/kernels/ceilings.h"
#include "kernels/error.h"
#include "kernels/pointwise.h"

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

// Seconds of one of the copies that `copy_once` makes: of the fastest of ten rounds.
double fastest_of_ten(Device& device, const std::function<void()>& copy_once) {
  Rounds rounds(device, copy_once);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 10; i++) best = std::min(best, rounds.round());
  return best;
}

double run_copy(Device& device, int64_t bytes) {
  const Backend& backend = device.backend();
  Stream& stream = device.stream();
  const DeviceBuffer from(device, static_cast<size_t>(bytes)), to(device, from.bytes());
  const Shape shape{bytes / 4};
  const View x = view_of(from.data(), shape, DType::f32), y = view_of(to.data(), shape, DType::f32);
  backend.fill(stream, x, 1);
  return std::min(fastest_of_ten(device, [&] { backend.copy(stream, x, y); }),
                  fastest_of_ten(device, [&] {
                    backend.pointwise(stream, functor_Affine, std::span(&x, 1), y, 1, 0);
                  }));
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

double CopyCurve::gbytes(double bytes) const {
  size_t i = 1;
  while (i + 1 < points.size() && points[i].bytes < bytes) i++;
  const Point low = points[i - 1], high = points[std::min(i, points.size() - 1)];
  if (bytes <= low.bytes) return low.gbytes;
  if (bytes >= high.bytes) return high.gbytes;
  const double share = std::log(bytes / low.bytes) / std::log(high.bytes / low.bytes);
  return low.gbytes + share * (high.gbytes - low.gbytes);
}

CopyCurve measure_copies(Device& device) {
  const int64_t most = limits_of(device).copy_bytes;
  CopyCurve curve;
  for (int64_t bytes = 1 << 14;; bytes = std::min(bytes * 4, most)) {
    const double seconds = run_copy(device, bytes);
    const double moved = 2 * static_cast<double>(bytes);
    curve.points.push_back({moved, moved / seconds * 1e-9});
    // The emulated device would take too long for more.
    if (bytes == most || (!is(device, "cpu") && seconds > long_enough)) return curve;
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

Rounds::Rounds(Device& device, std::function<void()> work)
    : device_(device), work_(std::move(work)) {
  const Backend& backend = device_.backend();
  work_();  // binds views, loads code, touches memory
  const double least = limits_of(device_).least_round;
  if (least <= 0) return;
  backend.synchronize(device_.stream());
  const auto start = Clock::now();
  work_();
  backend.synchronize(device_.stream());
  repeats_ = static_cast<int>(std::clamp(least / seconds_since(start), 1.0, 200.0));
  if (!backend.begin_capture) return;
  // A graph leaves out what the host takes to launch small kernels one by one.
  graph_ = DeviceGraph(device_, [&] { repeat(); });
  round();
}

void Rounds::repeat() {
  for (int i = 0; i < repeats_; i++) work_();
}

double Rounds::round() {
  const auto start = Clock::now();
  if (graph_)
    graph_.replay();
  else
    repeat();
  device_.backend().synchronize(device_.stream());
  return seconds_since(start) / repeats_;
}

Measured::Measured(Device& device, PreparedRow& row, const Kernel& kernel)
    : sessions_(row.sessions(kernel)), rounds_(device, [this] {
        for (Session& session : sessions_) session.run();
      }) {}

double Measured::round() { return rounds_.round() / static_cast<double>(sessions_.size()); }

double arithmetic_gflops(Context& context, const Device& device, const Ceilings& ceilings) {
  return is(device, "cpu") ? fma_gflops(context.pool()) : ceilings.gflops;
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
    if (kernel.flops > 0) peaks.push_back(arithmetic_gflops(context, device, ceilings));
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
