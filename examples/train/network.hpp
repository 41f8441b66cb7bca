#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataset.hpp"

/// How to train.
struct Settings {
    std::uint64_t seed = 1;
    std::size_t hidden = 8;     // units of the hidden layer
    std::size_t epochs = 500;   // at most
    std::size_t patience = 25;  // stop after so many epochs without a better one
    std::size_t batch = 16;     // rows
    double rate = 0.01;         // how far a step goes
};

/// A network of one hidden layer: softmax(W2 tanh(W1 x + b1) + b2), where x are the features less
/// their means, by their deviations.
struct Model {
    std::vector<std::string> features;
    std::vector<std::string> classes;
    std::vector<double> means;
    std::vector<double> deviations;
    std::size_t hidden = 0;
    std::vector<double> weights;  // W1 column by column, b1, W2 column by column, b2

    friend bool operator==(const Model&, const Model&) = default;
};

/// The number of weights of such a network.
[[nodiscard]] std::size_t count_weights(std::size_t features, std::size_t hidden,
                                        std::size_t classes);

/// How it stands after an epoch, a chunk of the training. Losses are mean cross-entropies.
struct Epoch {
    std::size_t number = 0;  // from 1
    double training_loss = 0;
    double validation_loss = 0;
    double validation_accuracy = 0;
    bool best = false;  // the smallest validation loss so far
};

/// Trains a network by mini-batches and Adam. The same for a seed on every compiler.
class Trainer {
public:
    /// Takes the means and deviations from the training rows, the others remain unseen. Refers to
    /// nothing afterwards.
    Trainer(const Dataset& data, const Split& split, const Settings& settings);
    Trainer(const Trainer&) = delete;
    Trainer& operator=(const Trainer&) = delete;
    ~Trainer();

    /// True after the last epoch, or when the validation loss has been no better for a while.
    [[nodiscard]] bool done() const;
    /// Trains one epoch.
    Epoch step();
    /// The model as it was after the best epoch.
    [[nodiscard]] Model best() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// What a model takes a row for.
struct Prediction {
    std::size_t label;
    double probability;

    friend bool operator==(const Prediction&, const Prediction&) = default;
};

/// What the model takes these rows for, in their order.
[[nodiscard]] std::vector<Prediction> predict(const Model& model, const Dataset& data,
                                              const std::vector<std::size_t>& rows);
