#pragma once
#include <cstddef>
#include <vector>

#include "evaluation.hpp"
#include "network.hpp"

/// Shows epochs on stdout: on a terminal in one line that is drawn again and again, else in a line
/// of its own each time their number has doubled.
class EpochLine {
public:
    EpochLine();
    EpochLine(const EpochLine&) = delete;
    EpochLine& operator=(const EpochLine&) = delete;
    ~EpochLine() { clear(); }

    void show(const Epoch& epoch);
    void clear();

private:
    bool terminal_;
    bool shown_ = false;
    std::size_t next_ = 1;
};

/// Prints to stdout what the data set is and how it was split.
void print_data(const Dataset& data, const Split& split, const Settings& settings);

/// Draws the losses by epoch to stdout, and says why the training ended.
void print_curve(const std::vector<Epoch>& epochs);

/// Prints to stdout the accuracy, the confusion matrix and the rows that were taken for another
/// class.
void print_evaluation(const Dataset& data, const Evaluation& evaluation);

/// Prints to stdout the accuracy of each fold and of all.
void print_folds(const std::vector<Evaluation>& folds);
