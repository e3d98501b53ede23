#pragma once

#include <memory>
#include <string>

#include "tools/report/report.h"
#include "tools/run/study.h"
#include "tools/train_reporter.h"

namespace fulmar::tools {

// Tells of each training what `fulmar train` tells, and which of all it is.
class StudyReporter : public StudyObserver {
 public:
  void on_note(const std::string& text) override { reporter_->on_note(text); }
  Advance on_job(const std::string& label, int64_t total, const std::string& unit) override {
    return reporter_->on_job(label, total, unit);
  }
  void on_folder(const std::string& run, bool finished) override {
    reporter_->on_folder(run, finished);
  }
  void on_batch(const Position& position) override { reporter_->on_batch(position); }
  void on_validation(int64_t batches, int64_t of_batches) override {
    reporter_->on_validation(batches, of_batches);
  }
  void on_epoch(const model::NamedValues& metrics, bool best) override {
    reporter_->on_epoch(metrics, best);
  }
  void on_training(const std::string& what, const std::string& run, int64_t number,
                   int64_t of) override {
    reporter_ = std::make_unique<Reporter>();  // it estimates one training's time
    reporter_->on_note("training " + std::to_string(number) + " of " + std::to_string(of) + ": " +
                       what + ": " + run);
  }
  void on_evaluation(const std::string& run) override { write_report(run); }

 private:
  std::unique_ptr<Reporter> reporter_ = std::make_unique<Reporter>();
};

}  // namespace fulmar::tools
