#pragma once
#include <cstddef>
#include <vector>

#include "network.hpp"

/// A row that was taken for another class.
struct Mistake {
    std::size_t row;
    Prediction prediction;
};

/// How good a model is on some rows.
struct Evaluation {
    std::vector<std::vector<std::size_t>> confusion;  // the rows by actual and predicted class
    std::vector<Mistake> mistakes;
    std::size_t rows = 0;

    [[nodiscard]] std::size_t right() const { return rows - mistakes.size(); }
    [[nodiscard]] double accuracy() const {
        return static_cast<double>(right()) / static_cast<double>(rows);
    }
};

/// Compares what the model takes the held-out rows for with what they are.
[[nodiscard]] inline Evaluation evaluate(const Model& model, const Dataset& data,
                                         const Split& split) {
    Evaluation evaluation;
    evaluation.rows = split.held_out.size();
    const std::size_t classes = data.classes.size();
    evaluation.confusion.assign(classes, std::vector<std::size_t>(classes));
    const std::vector<Prediction> predictions = predict(model, data, split.held_out);
    for (std::size_t i = 0; i < predictions.size(); ++i) {
        const std::size_t row = split.held_out[i];
        ++evaluation.confusion[data.labels[row]][predictions[i].label];
        if (predictions[i].label != data.labels[row]) {
            evaluation.mistakes.push_back({row, predictions[i]});
        }
    }
    return evaluation;
}
