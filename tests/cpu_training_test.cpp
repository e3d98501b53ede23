#include "tests/support/parity.h"

// Normalisation, loss, dropout and optimiser on the CPU against the reference device.

namespace fulmar::test {
namespace {

const double nan = NAN;
const int64_t channel_counts[] = {1, 3, 8, 12, 16, 33, 64};

}  // namespace

TEST_CASE("cpu: batch normalisation and its gradients") {
  for (const int64_t channels : channel_counts)
    for (const int64_t width : {1, 5, 300}) {
      CAPTURE(channels);
      CAPTURE(width);
      const Shape shape{2, 7, width, channels}, each{channels};
      Parity p;
      const int x = p.in(shape, 1, 3), shift = p.in(each, 1, 3), gamma = p.in(each, 0.5, 1.5);
      const int beta = p.in(each), dy = p.in(shape), y = p.out(shape), dx = p.out(shape);
      const int mean = p.out(each), var = p.out(each), dgamma = p.out(each), dbeta = p.out(each);
      const int running_mean = p.in(each), running_var = p.in(each, 0.5, 1);
      const int sums = p.raw({3, channels}, DType::f64), totals = p.raw({2, channels}, DType::f64);
      p.check(
          [&](const Backend& d) {
            d.channel_sums(p.stream(), p[x], p[shift], p[sums]);
            d.moments(p.stream(), p[sums], p[shift], p[mean], p[var]);
            d.update_running(p.stream(), p[mean], p[var], p[sums], p[running_mean], p[running_var],
                             0.9, true);
            d.batch_norm(p.stream(), p[x], p[gamma], p[beta], p[mean], p[var], p[y], 1e-3);
            d.batch_norm_grad_sums(p.stream(), p[dy], p[x], p[mean], p[totals]);
            d.batch_norm_grad(p.stream(), p[dy], p[x], p[gamma], p[mean], p[var], p[sums],
                              p[totals], p[dx], 1e-3);
            d.batch_norm_param_grad(p.stream(), p[totals], p[var], p[dgamma], p[dbeta], 1e-3);
          },
          2e-6);
    }
}

TEST_CASE("cpu: a mean far from 0 does not spoil the variance") {
  const Shape shape{1, 200, 200, 8};
  std::vector<double> values = random_reals(shape, 3, -1e-2, 1e-2).values;
  for (double& v : values) v += 1000;
  Parity p;
  const int x = p.in(shape, values), shift = p.in({8}, std::vector<double>(8, 1000.0));
  const int mean = p.out({8}), var = p.out({8}), sums = p.raw({3, 8}, DType::f64);
  p.check([&](const Backend& d) {
    d.channel_sums(p.stream(), p[x], p[shift], p[sums]);
    d.moments(p.stream(), p[sums], p[shift], p[mean], p[var]);
  });
}

TEST_CASE("cpu: sums of few pixels of many channels") {
  constexpr int64_t channels = 8192;
  const Shape shape{1, 27, 19, channels};
  Parity p;
  const int x = p.in(shape, 2, 4), sums = p.raw({3, channels}, DType::f64);
  const int shift = p.in({channels}, std::vector<double>(channels, 1.0));
  p.check([&](const Backend& d) { d.channel_sums(p.stream(), p[x], p[shift], p[sums]); });
}

TEST_CASE("cpu: the variance of a constant channel is 0, never less, and of NaN it is NaN") {
  // Sums over n equal values, as rounding leaves them: on either side of what is exact.
  const std::vector<double> value{1e-3, 0.1, 1.7, 1000.1, 3e5, 0, nan, 0.1};
  const std::vector<double> n{3, 7, 300, 1e6, 50, 2, 5, 7};
  std::vector<double> sums(3 * 8);
  for (size_t c = 0; c < 8; c++) {
    sums[c] = n[c] * value[c];
    sums[8 + c] = n[c] * value[c] * value[c] * (1 - 1e-15);
    sums[16 + c] = n[c];
  }
  Parity p;
  const int given = p.raw({3, 8}, DType::f64, sums), shift = p.in({8}, std::vector<double>(8, 0.0));
  const int mean = p.out({8}), var = p.out({8});
  p.check([&](const Backend& d) {
    d.moments(p.stream(), p[given], p[shift], p[mean], p[var]);
    for (int64_t c = 0; c < 8; c++) {
      const double found = p[var].type == DType::f64 ? p[var].as<double>()[c]
                                                     : static_cast<double>(p[var].as<float>()[c]);
      CAPTURE(c);
      CHECK((c == 6 ? std::isnan(found) : found == 0));
    }
  });
}

TEST_CASE("cpu: softmax and cross-entropy with its gradient") {
  const int64_t rows = 37;
  for (const int64_t classes : {2, 3, 19})
    for (const bool soft : {false, true})
      for (const bool weighted : {false, true}) {
        CAPTURE(classes);
        CAPTURE(soft);
        CAPTURE(weighted);
        Parity p;
        const int logits = p.in({rows, classes}, -6, 6), y = p.out({rows, classes});
        std::vector<double> labels;
        for (int64_t r = 0; r < rows; r++) labels.push_back(static_cast<double>(r % classes));
        labels[5] = -1;                            // ignored
        labels[7] = static_cast<double>(classes);  // no such class
        const int target =
            soft ? p.in({rows, classes}, 0, 1) : p.raw({rows, 1}, DType::i32, labels);
        const int c = p.in({classes}, 0.5, 2), q = p.in({rows, 1}, 0, 2);
        const int loss = p.out({rows, 1}), weight = p.out({rows, 1}), dloss = p.in({rows, 1});
        const int grad = p.out({rows, classes});
        p.check([&](const Backend& d) {
          CrossEntropy how;
          how.label_smoothing = weighted ? 0.1 : 0;
          const View none, &cw = weighted ? p[c] : none, &qw = weighted ? p[q] : none;
          d.softmax(p.stream(), p[logits], p[y]);
          d.softmax_cross_entropy(p.stream(), p[logits], p[target], cw, qw, p[loss], p[weight],
                                  how);
          d.softmax_cross_entropy_grad(p.stream(), p[logits], p[target], cw, qw, p[dloss], p[grad],
                                       how);
        });
      }
}

TEST_CASE("cpu: class indices of u8 give the bits of i32") {
  const int64_t rows = 531, classes = 5;
  std::vector<double> labels;
  for (int64_t r = 0; r < rows; r++) labels.push_back(static_cast<double>(r % classes));
  labels[3] = labels[400] = 255;  // ignored
  labels[7] = 254;                // no such class
  Parity p;
  const int logits = p.in({rows, classes}, -6, 6), c = p.in({classes}, 0.5, 2);
  const int q = p.in({rows, 1}, 0, 2), dloss = p.in({rows, 1});
  struct Results {
    int labels, loss, weight, grad;
  };
  const auto results = [&](DType type) {
    return Results{p.raw({rows, 1}, type, labels), p.out({rows, 1}), p.out({rows, 1}),
                   p.out({rows, classes})};
  };
  const Results wide = results(DType::i32), narrow = results(DType::u8);
  p.check([&](const Backend& d) {
    for (const Results& r : {wide, narrow}) {
      const CrossEntropy how{0.1, 255};
      d.softmax_cross_entropy(p.stream(), p[logits], p[r.labels], p[c], p[q], p[r.loss],
                              p[r.weight], how);
      d.softmax_cross_entropy_grad(p.stream(), p[logits], p[r.labels], p[c], p[q], p[dloss],
                                   p[r.grad], how);
    }
    const auto same = [&](int a, int b) {
      return std::memcmp(p[a].data, p[b].data, p[a].bytes()) == 0;
    };
    CHECK(same(wide.loss, narrow.loss));
    CHECK(same(wide.weight, narrow.weight));
    CHECK(same(wide.grad, narrow.grad));
    CHECK(p[narrow.weight].bytes() > 0);
  });
}

TEST_CASE("cpu: a confusion of few and of the most classes") {
  for (const int64_t classes : {int64_t{2}, max_confusion_classes}) {
    CAPTURE(classes);
    const Shape map{1, 400, 517, 1};  // several threads' work
    const auto drawn = [&](uint64_t seed) {
      std::vector<double> values =
          random_reals(map, seed, -1, static_cast<double>(classes) + 1).values;
      for (double& v : values) v = std::floor(v);
      return values;
    };
    Parity p;
    const int predicted = p.raw(map, DType::i32, drawn(1));
    const int labels = p.raw(map, DType::i32, drawn(2));
    // What lay in the matrix before is not added to.
    const int counts = p.raw({classes, classes}, DType::f64,
                             std::vector<double>(static_cast<size_t>(classes * classes), 5));
    p.check(
        [&](const Backend& d) {
          d.confusion(p.stream(), p[predicted], p[labels], View{}, p[counts]);
        },
        0);
  }
}

TEST_CASE("cpu: softmax of extreme logits") {
  Parity p;
  const int x = p.in({4, 3}, {1e30, 0, -1e30, -1e4, -1e4, -1e4, 88, 89, -200, nan, 1, 2});
  const int y = p.out({4, 3}), loss = p.out({4, 1}), weight = p.out({4, 1});
  const int labels = p.raw({4, 1}, DType::i32, {0, 1, 2, 1});
  p.check([&](const Backend& d) {
    d.softmax(p.stream(), p[x], p[y]);
    d.softmax_cross_entropy(p.stream(), p[x], p[labels], View{}, View{}, p[loss], p[weight], {});
  });
}

TEST_CASE("cpu: dropout draws the reference's mask, beyond 32 bits of counter too") {
  for (const uint64_t id : {uint64_t{0}, uint64_t{3}})
    for (const double rate : {0.0, 0.3, 0.5}) {
      Parity p;
      const StepState state{12345678901234567u, uint64_t{1} << 40 | 99, 1, 0, 0};
      const int x = p.in({70001}, 1, 2), y = p.out({70001});
      p.check([&](const Backend& d) { d.dropout(p.stream(), p[x], p[y], &state, rate, id); });
    }
}

TEST_CASE("cpu: gradients accumulate over micro-batches; the first overwrites") {
  Parity p;
  const int g = p.in({70001}), sum = p.in({70001}, std::vector<double>(70001, nan));
  p.check([&](const Backend& d) {
    StepState state;
    for (state.micro_batch = 0; state.micro_batch < 3; state.micro_batch++)
      d.accumulate(p.stream(), p[g], p[sum], &state);
  });
}

TEST_CASE("cpu: adamw in its forms, over segments with gaps and odd ends") {
  const int64_t size = 150001;
  const Segment segments[] = {{0, 7, 0}, {9, 70000, 1}, {70016, 149999, 0}};
  for (const bool scaled : {false, true})
    for (const bool keras : {false, true}) {
      Parity p;
      const int g = p.in({size}, -7e-3, 7e-3), theta = p.in({size}),
                weight = p.in({1}, std::vector<double>{7});
      const int m = p.in({size}, -1e-3, 1e-3), v = p.in({size}, 0, 1e-6);
      const int nonfinite = p.raw({1}, DType::i32);
      p.check([&](const Backend& d) {
        StepState state;
        state.learning_rate = 1e-2;
        const AdamW how{0.9, 0.999, 1e-7, 1e-2, scaled, keras};
        for (state.step = 1; state.step <= 3; state.step++)
          d.adamw(p.stream(), p[g], p[weight], p[nonfinite], p[theta], p[m], p[v], segments, 3,
                  &state, how);
      });
    }
}

TEST_CASE("cpu: sgd and lars over segments with gaps and odd ends, empty ones and zeros") {
  const int64_t size = 300001;
  // The last but one is all zeros: it has no norm.
  const Segment segments[] = {{0, 7, 0},           {9, 140000, 1},      {140016, 140016, 1},
                              {140032, 250000, 0}, {250016, 250039, 1}, {250048, 300000, 1}};
  std::vector<double> start = random_reals({size}, 5).values;
  std::fill(start.begin() + 250016, start.begin() + 250039, 0.0);
  for (const bool nesterov : {false, true}) {
    Parity p;
    const int g = p.in({size}, -7, 7), theta = p.in({size}, start),
              weight = p.in({1}, std::vector<double>{7});
    const int v = p.in({size}), nonfinite = p.raw({1}, DType::i32);
    p.check([&](const Backend& d) {
      StepState state;
      state.learning_rate = 1e-1;
      for (int step = 0; step < 3; step++)
        d.sgd(p.stream(), p[g], p[weight], p[nonfinite], p[theta], p[v], segments, 6, &state,
              {0.9, 1e-2, nesterov});
    });
  }
  for (const double epsilon : {0.0, 1.0}) {
    Parity p;
    const int g = p.in({size}, -7, 7), theta = p.in({size}, start),
              weight = p.in({1}, std::vector<double>{7});
    const int v = p.in({size}), nonfinite = p.raw({1}, DType::i32);
    p.check([&](const Backend& d) {
      StepState state;
      state.learning_rate = 1e-1;
      for (int step = 0; step < 3; step++)
        d.lars(p.stream(), p[g], p[weight], p[nonfinite], p[theta], p[v], segments, 6, &state,
               {0.9, 1e-2, 0.5, epsilon});
    });
  }
}

}  // namespace fulmar::test
