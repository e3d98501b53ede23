// One benchmark for each kernel of the engine, on the op table's benchmark rows: time, GB/s of the
// traffic that can't be avoided, GFLOP/s, and percent of what copying and arithmetic reach in the
// same run. `fulmar bench` prints the same as a table.
//   bench_kernels [--device cpu|cuda|cuda:N|reference|simt] [--precision fp32|tf32|bf16]
//                 [--batch N] [--crop N] [--threads N]
//                 [Google Benchmark's options, such as --benchmark_filter=REGEX]
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "bench/kernels/measure.h"
#include "kernels/cuda/emulated.h"
#include "kernels/error.h"

using namespace fulmar;
using namespace fulmar::bench;

namespace {

struct Options {
  std::string device = "cpu", precision;
  int64_t batch = 16, crop = 1024, threads = 0;
};

// Takes our own options out of the command line.
Options options_of(int& argc, char** argv) {
  Options options;
  int kept = 1;
  for (int i = 1; i < argc; i++) {
    const std::string name = argv[i];
    int64_t* number = name == "--batch"     ? &options.batch
                      : name == "--crop"    ? &options.crop
                      : name == "--threads" ? &options.threads
                                            : nullptr;
    std::string* text = name == "--device"      ? &options.device
                        : name == "--precision" ? &options.precision
                                                : nullptr;
    if (!number && !text) {
      argv[kept++] = argv[i];
      continue;
    }
    if (++i == argc) usage_error(name + " takes a value");
    if (text)
      *text = argv[i];
    else if (*number = std::atoll(argv[i]); *number < 1)
      usage_error(name + " takes a number of at least 1");
  }
  argc = kept;
  return options;
}

// The benchmarks of a row come one after the other: the last row stays prepared for the next, and
// its kernel for the runs that Google Benchmark takes to find how many it needs.
class Rows {
 public:
  Rows(Context& context, Device& device, const op_table::NetworkSize& size)
      : context_(context), device_(device), rows_(op_table::benchmark_cases(size)) {}

  const std::vector<op_table::Case>& all() const { return rows_; }
  PreparedRow& prepared(size_t row) {
    if (!prepared_ || row != at_) {
      measured_.reset();
      prepared_.reset();  // first free, then take
      prepared_ = std::make_unique<PreparedRow>(context_, device_, rows_[row]);
      at_ = row;
    }
    return *prepared_;
  }
  Measured& measured(size_t row, size_t kernel) {
    PreparedRow& of = prepared(row);
    if (!measured_ || kernel != kernel_) {
      measured_.reset();
      measured_ = std::make_unique<Measured>(device_, of, of.kernels()[kernel]);
      kernel_ = kernel;
    }
    return *measured_;
  }

 private:
  Context& context_;
  Device& device_;
  std::vector<op_table::Case> rows_;
  std::unique_ptr<PreparedRow> prepared_;
  std::unique_ptr<Measured> measured_;
  size_t at_ = 0, kernel_ = 0;
};

void run(int argc, char** argv) {
  const Options options = options_of(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) usage_error("see --help");
  Context context(Context::Options{static_cast<int>(options.threads), {}});
  const simt::StreamOwner emulated;
  std::optional<Precision> precision;
  if (!options.precision.empty() && !(precision = precision_named(options.precision)))
    usage_error("--precision is fp32, tf32 or bf16, not '" + options.precision + "'");
  Device simt(simt_backend(precision.value_or(Precision::fp32)), emulated.stream());
  Device& device = options.device == "simt" ? simt : context.device(options.device, precision);

  const Ceilings ceilings = measure_ceilings(context, device);
  benchmark::AddCustomContext("device", device.describe());
  benchmark::AddCustomContext("precision", name_of(device.precision()));
  benchmark::AddCustomContext("threads", std::to_string(context.pool().threads()));
  benchmark::AddCustomContext("batch", std::to_string(options.batch));
  benchmark::AddCustomContext("crop", std::to_string(options.crop));
  benchmark::AddCustomContext("copy GB/s", std::to_string(ceilings.copy_gbytes));
  benchmark::AddCustomContext("ceiling GFLOP/s", std::to_string(ceilings.gflops));

  Rows rows(context, device, {options.batch, options.crop});
  Selection selection("");
  for (size_t r = 0; r < rows.all().size(); r++) {
    const Recorded recorded = record(rows.all()[r]);
    for (size_t k = 0; k < recorded.kernels.size(); k++) {
      const Kernel& kernel = recorded.kernels[k];
      if (!selection.takes(kernel)) continue;
      benchmark::RegisterBenchmark(
          kernel.name.c_str(),
          [&, r, k](benchmark::State& state) {
            Measured& measured = rows.measured(r, k);
            const Kernel& timed = rows.prepared(r).kernels()[k];
            const double ceiling = arithmetic_gflops(context, device, ceilings);
            double seconds = 0;
            for (auto _ : state) {
              const double one = measured.round();
              state.SetIterationTime(one);
              seconds += one;
            }
            const double each = seconds / static_cast<double>(state.iterations());
            const double bandwidth = timed.bytes(device) / each * 1e-9;
            state.counters["GB/s"] = bandwidth;
            state.counters["%copy"] = 100 * bandwidth / ceilings.copy_gbytes;
            if (timed.flops == 0) return;
            const double rate = timed.flops / each * 1e-9;
            state.counters["GFLOP/s"] = rate;
            state.counters["%ceiling"] = 100 * rate / ceiling;
          })
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_kernels: %s\n", error.what());
    return error.kind() == ErrorKind::device ? 4 : 2;
  }
  return 0;
}
