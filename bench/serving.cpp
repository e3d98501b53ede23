// serving MODEL SIDE [SECONDS]: how soon and how fast the C API predicts pictures of SIDE x SIDE
// 8-bit pixels. Prints a line of JSON: milliseconds of a load and of the first prediction,
// predictions a second of one thread and of several with a session each, by turns.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "include/fulmar/fulmar.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check(fulmar_status status) {
  if (status == FULMAR_OK) return;
  std::fprintf(stderr, "%s\n", fulmar_last_error());
  std::exit(status);
}

// One thread's session with its picture.
class Worker {
 public:
  Worker(const fulmar_model* model, int64_t side) {
    check(fulmar_session_create(model, 1, &session_));
    check(fulmar_model_input(model, 0, nullptr, &picture_));
    check(fulmar_model_output(model, 0, nullptr, &output_));
    picture_.extents[0] = output_.extents[0] = 1;
    picture_.extents[1] = picture_.extents[2] = side;
    pixels_.assign(static_cast<size_t>(side * side * picture_.extents[3]), 100);
    numbers_.resize(static_cast<size_t>(output_.extents[3]));
    picture_.data = pixels_.data();
    output_.data = numbers_.data();
  }
  ~Worker() { fulmar_session_free(session_); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void predict() { check(fulmar_session_run(session_, &picture_, 1, &output_, 1)); }
  // Predictions in some seconds.
  int64_t predict_for(double seconds) {
    const auto start = Clock::now();
    int64_t count = 0;
    for (; seconds_since(start) < seconds; count++) predict();
    return count;
  }

 private:
  fulmar_session* session_ = nullptr;
  fulmar_tensor picture_{}, output_{};
  std::vector<uint8_t> pixels_;
  std::vector<float> numbers_;
};

// Predictions a second of all workers at once.
double rate(const std::vector<Worker*>& workers, double seconds) {
  std::vector<int64_t> counts(workers.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers.size(); i++)
    threads.emplace_back([&, i] { counts[i] = workers[i]->predict_for(seconds); });
  for (std::thread& thread : threads) thread.join();
  double sum = 0;
  for (const int64_t count : counts) sum += static_cast<double>(count) / seconds;
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: serving MODEL SIDE [SECONDS]\n");
    return 2;
  }
  const int64_t side = std::atoll(argv[2]);
  const double seconds = argc > 3 ? std::atof(argv[3]) : 1;
  const auto start = Clock::now();
  fulmar_model* model = nullptr;
  check(fulmar_model_load(argv[1], "cpu", &model));
  const double loaded = seconds_since(start);
  {
    Worker a(model, side), b(model, side);
    a.predict();
    const double first = seconds_since(start);
    b.predict();
    std::vector<double> one, two, ratio;
    for (int round = 0; round < 5; round++) {
      one.push_back(rate({&a}, seconds));
      two.push_back(rate({&a, &b}, seconds));
      ratio.push_back(two.back() / one.back());
    }
    for (std::vector<double>* values : {&one, &two, &ratio})
      std::sort(values->begin(), values->end());
    std::printf(
        "{\"load_ms\": %.2f, \"first_ms\": %.2f, \"one_thread\": %.1f, "
        "\"two_threads\": %.1f, \"ratio\": %.2f}\n",
        loaded * 1e3, first * 1e3, one[2], two[2], ratio[2]);
  }
  fulmar_model_free(model);
  return 0;
}
