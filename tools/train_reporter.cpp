#include "tools/train_reporter.h"

#include <cstdio>
#include <string>

#include "tools/report/report.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string duration(double seconds) {
  return seconds < 60 ? text_of(seconds) + " s" : readable_seconds(seconds);
}

}  // namespace

Advance Reporter::on_job(const std::string& label, int64_t total, const std::string& unit) {
  bar_.reset();
  return jobs_.on_job(label, total, unit);
}

void Reporter::on_folder(const std::string& run, bool finished) {
  if (finished)
    for (const std::string& word : training_words(read_report(run))) on_note(word);
  const std::string page = write_report(run);
  if (finished) on_note("report: " + page);
}

void Reporter::on_batch(const Position& b) {
  estimate(b);
  if (!bar_ || validating_ || epoch_ != b.epoch) {
    bar_ = std::make_unique<Progress>(b.of_samples, "images", console_, clock_);
    bar_->start_at(b.samples);  // nobody knows how long these took
    epoch_ = b.epoch;
    epochs_ = b.epochs;
    validating_ = false;
  }
  bar_->label("epoch " + std::to_string(b.epoch) + "/" + std::to_string(b.epochs));
  bar_->detail("loss " + text_of(b.loss));
  const auto epochs_left = static_cast<double>(b.epochs - b.epoch);
  bar_->then(epochs_left * static_cast<double>(b.of_samples),
             (epochs_left + 1) * validation_seconds_);
  bar_->update(b.samples);
}

void Reporter::on_validation(int64_t batches, int64_t of_batches) {
  if (!validating_) {
    bar_ = std::make_unique<Progress>(of_batches, "batches", console_, clock_);
    bar_->label("epoch " + std::to_string(epoch_) + "/" + std::to_string(epochs_) + " validation");
    bar_->start_at(batches);
    validation_start_ = clock_();
    validating_ = true;
  }
  bar_->update(batches);
  if (batches == of_batches) validation_seconds_ = clock_() - validation_start_;
}

void Reporter::on_epoch(const model::NamedValues& metrics, bool best) {
  bar_.reset();
  validating_ = false;
  std::string line;
  for (const auto& [name, value] : metrics) {
    if (name == "epoch")
      line = "epoch " + std::to_string(static_cast<int64_t>(value));
    else if (name == "loss" || name == "accuracy" || name == "val_loss" || name == "val_accuracy" ||
             name == "val_f1" || name == "learning_rate")
      line += "  " + name + " " + text_of(value);
    else if (name == "seconds")
      line += "  " + text_of(value) + " s";
  }
  console_.line(line + (best ? "  (best so far)" : ""));
}

// From the second batch on, for the first one also touches memory anew.
void Reporter::estimate(const Position& b) {
  if (++batches_ > 2) return;
  if (batches_ == 1) {
    first_batch_ = clock_();
    first_samples_ = b.samples;
    return;
  }
  if (b.samples <= first_samples_) return;  // an epoch of one batch
  const double epoch = (clock_() - first_batch_) / static_cast<double>(b.samples - first_samples_) *
                       static_cast<double>(b.of_samples);
  console_.line("takes about " + duration(epoch) + " an epoch, and " +
                duration(epoch * static_cast<double>(b.epochs - b.epoch + 1)) + " to epoch " +
                std::to_string(b.epochs) + ", validation not counted");
}

}  // namespace fulmar::tools
