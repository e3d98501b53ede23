#include "data/sampler.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "data/draws.h"
#include "kernels/error.h"

namespace fulmar::data {

namespace {

void check_batch(int64_t samples, int64_t batch) {
  if (batch < 1) usage_error("the batch size must be at least 1, not " + std::to_string(batch));
  if (samples < 1 || samples > INT32_MAX)
    usage_error("there must be 1 to 2147483647 samples, not " + std::to_string(samples));
}

// Fisher and Yates' shuffle, keyed by what it is for.
void shuffle(std::vector<int64_t>& items, uint64_t seed, Draw purpose, uint64_t high) {
  for (size_t left = items.size(); left > 1; left--) {
    const RandomBits bits = draw(seed, purpose, high, left);
    std::swap(items[left - 1],
              items[static_cast<size_t>(below(bits.word[0], static_cast<int64_t>(left)))]);
  }
}

class BalancedSampler : public Sampler {
 public:
  BalancedSampler(std::span<const int32_t> labels, int64_t classes, int64_t batch, uint64_t seed)
      : batch_(batch), seed_(seed), streams_(static_cast<size_t>(classes)) {
    check_batch(static_cast<int64_t>(labels.size()), batch);
    for (size_t sample = 0; sample < labels.size(); sample++) {
      if (labels[sample] < 0 || labels[sample] >= classes)
        usage_error("sample " + std::to_string(sample) + " has the label " +
                    std::to_string(labels[sample]) + " of " + std::to_string(classes) + " classes");
      streams_[static_cast<size_t>(labels[sample])].members.push_back(static_cast<int64_t>(sample));
    }
    size_t largest = 0;
    for (size_t c = 0; c < streams_.size(); c++) {
      if (streams_[c].members.empty())
        usage_error("class " + std::to_string(c) +
                    " has no samples, so they can't be drawn evenly from all classes");
      largest = std::max(largest, streams_[c].members.size());
    }
    batches_ = (classes * static_cast<int64_t>(largest) + batch - 1) / batch;
  }

  int64_t batches_per_epoch() const override { return batches_; }

  std::vector<int64_t> batch(int64_t epoch, int64_t number) override {
    seek((epoch * batches_ + number) * batch_);
    std::vector<int64_t> samples;
    for (int64_t i = 0; i < batch_; i++) samples.push_back(next());
    return samples;
  }

 private:
  struct Stream {
    std::vector<int64_t> members;
    std::vector<int64_t> order;  // of round `round`
    int64_t round = -1;
    int64_t drawn = 0;  // samples given before
  };

  size_t coin(int64_t position) const {
    const RandomBits bits = draw(seed_, Draw::coin, 0, static_cast<uint64_t>(position));
    return static_cast<size_t>(below(bits.word[0], static_cast<int64_t>(streams_.size())));
  }

  // How far each stream is follows from the coins before: about 10 ms for a million of them.
  void seek(int64_t position) {
    if (position < position_) {
      position_ = 0;
      for (Stream& stream : streams_) stream.drawn = 0;
    }
    while (position_ < position) streams_[coin(position_++)].drawn++;
  }

  int64_t next() {
    const size_t c = coin(position_++);
    Stream& stream = streams_[c];
    const auto size = static_cast<int64_t>(stream.members.size());
    const int64_t round = stream.drawn / size;
    if (round != stream.round) {
      stream.round = round;
      stream.order = stream.members;
      shuffle(stream.order, seed_, Draw::class_order,
              uint64_t{c} << 32 | static_cast<uint64_t>(round));
    }
    return stream.order[static_cast<size_t>(stream.drawn++ % size)];
  }

  int64_t batch_, batches_ = 0;
  uint64_t seed_;
  std::vector<Stream> streams_;
  int64_t position_ = 0;  // samples drawn since the start of the run
};

class ShuffledSampler : public Sampler {
 public:
  ShuffledSampler(int64_t samples, int64_t batch, uint64_t seed, LastBatch last)
      : batch_(batch), seed_(seed), order_(static_cast<size_t>(samples)) {
    check_batch(samples, batch);
    batches_ = last == LastBatch::fill ? (samples + batch - 1) / batch : samples / batch;
    if (batches_ < 1)
      usage_error("a batch of " + std::to_string(batch) + " is larger than the " +
                  std::to_string(samples) + " samples; make it smaller");
  }

  int64_t batches_per_epoch() const override { return batches_; }

  std::vector<int64_t> batch(int64_t epoch, int64_t number) override {
    if (epoch != epoch_) {
      std::iota(order_.begin(), order_.end(), 0);
      shuffle(order_, seed_, Draw::epoch_order, static_cast<uint64_t>(epoch));
      epoch_ = epoch;
    }
    std::vector<int64_t> samples;
    for (int64_t i = number * batch_; i < (number + 1) * batch_; i++)
      samples.push_back(order_[static_cast<size_t>(i) % order_.size()]);
    return samples;
  }

 private:
  int64_t batch_, batches_ = 0;
  uint64_t seed_;
  std::vector<int64_t> order_;
  int64_t epoch_ = -1;
};

class SequentialSampler : public Sampler {
 public:
  SequentialSampler(int64_t samples, int64_t batch) : samples_(samples), batch_(batch) {
    check_batch(samples, batch);
  }

  int64_t batches_per_epoch() const override { return (samples_ + batch_ - 1) / batch_; }

  std::vector<int64_t> batch(int64_t, int64_t number) override {
    const int64_t begin = number * batch_, end = std::min(samples_, begin + batch_);
    std::vector<int64_t> samples(static_cast<size_t>(end - begin));
    std::iota(samples.begin(), samples.end(), begin);
    return samples;
  }

 private:
  int64_t samples_, batch_;
};

}  // namespace

std::unique_ptr<Sampler> balanced_sampler(std::span<const int32_t> labels, int64_t classes,
                                          int64_t batch, uint64_t seed) {
  return std::make_unique<BalancedSampler>(labels, classes, batch, seed);
}

std::unique_ptr<Sampler> shuffled_sampler(int64_t samples, int64_t batch, uint64_t seed,
                                          LastBatch last) {
  return std::make_unique<ShuffledSampler>(samples, batch, seed, last);
}

std::unique_ptr<Sampler> sequential_sampler(int64_t samples, int64_t batch) {
  return std::make_unique<SequentialSampler>(samples, batch);
}

}  // namespace fulmar::data
