// The sizes of a two-dimensional convolution, and its three directions as matrix products.
//
//     x (N, C, H, W), weight (O, C/groups, KH, KW), y (N, O, P, Q)
//
// Each direction is, for each group, a product left (rows, depth) @ right (depth, columns) of matrices that
// exist only as functions from an index to an element:
//
//     direction      rows            depth                        columns
//     Forward        O/groups        (c, i, j): C/groups*KH*KW    (n, p, q): N*P*Q
//     InputGradient  C/groups        (o, i, j): O/groups*KH*KW    (n, h, w): N*H*W
//     WeightGradient O/groups        (n, p, q): N*P*Q             (c, i, j): C/groups*KH*KW
//
// Their functions:
//
//     left(row, k)       an element of left
//     place(column)      what the elements and the result of a column have in common
//     right(k, place)    an element of right, given its column's place; 0 for a cell outside the image
//     at(row, place)     where in the result array the sum of (row, column) belongs

#include "real.cuh"

struct Convolution {
    int images, channels, height, width;
    int outputs, rows, columns;
    int kernel_height, kernel_width;
    int stride_height, stride_width, dilation_height, dilation_width;
    int top, left;
    int groups;

    __device__ __forceinline__ int group_channels() const { return channels / groups; }
    __device__ __forceinline__ int group_outputs() const { return outputs / groups; }
    __device__ __forceinline__ int taps() const { return kernel_height * kernel_width; }
    __device__ __forceinline__ int positions() const { return rows * columns; }
};

// One index as three: (first, row, column) with `rows` rows of `columns` columns each.
struct Cell {
    int first, row, column;

    __device__ __forceinline__ Cell(int index, int rows, int columns)
    {
        column = index % columns;
        row = index / columns % rows;
        first = index / columns / rows;
    }
};

// The cell of x that tap (i, j) of the window at position (p, q) reads, 0 in the padding.
__device__ __forceinline__ real read_window(
    const Convolution& conv, const real* x, int image, int channel, int p, int q, int i, int j)
{
    const int row = p * conv.stride_height - conv.top + i * conv.dilation_height;
    const int column = q * conv.stride_width - conv.left + j * conv.dilation_width;
    if (row < 0 || row >= conv.height || column < 0 || column >= conv.width)
        return 0;
    return x[((image * conv.channels + channel) * conv.height + row) * conv.width + column];
}

// The output position along one axis whose window reads cell `cell` with tap `tap`; -1 if there is none.
__device__ __forceinline__ int reading_position(
    int cell, int tap, int before, int dilation, int stride, int positions)
{
    const int distance = cell + before - tap * dilation;
    const int position = distance / stride;
    return distance >= 0 && distance % stride == 0 && position < positions ? position : -1;
}

struct Forward {
    using Place = Cell;  // (n, p, q)

    const Convolution& conv;
    const real *weight, *x;
    int group;

    __device__ __forceinline__ int rows() const { return conv.group_outputs(); }
    __device__ __forceinline__ int depth() const { return conv.group_channels() * conv.taps(); }
    __device__ __forceinline__ int columns() const { return conv.images * conv.positions(); }

    __device__ __forceinline__ real left(int row, int k) const
    {
        return weight[(group * rows() + row) * depth() + k];
    }
    __device__ __forceinline__ Place place(int column) const { return Cell(column, conv.rows, conv.columns); }
    __device__ __forceinline__ real right(int k, const Place& place) const
    {
        const Cell tap(k, conv.kernel_height, conv.kernel_width);  // (c, i, j)
        const int channel = group * conv.group_channels() + tap.first;
        return read_window(conv, x, place.first, channel, place.row, place.column, tap.row, tap.column);
    }
    __device__ __forceinline__ int at(int row, const Place& place) const
    {
        const int output = place.first * conv.outputs + group * rows() + row;
        return (output * conv.rows + place.row) * conv.columns + place.column;
    }
};

struct InputGradient {
    using Place = Cell;  // (n, h, w)

    const Convolution& conv;
    const real *weight, *g;
    int group;

    __device__ __forceinline__ int rows() const { return conv.group_channels(); }
    __device__ __forceinline__ int depth() const { return conv.group_outputs() * conv.taps(); }
    __device__ __forceinline__ int columns() const { return conv.images * conv.height * conv.width; }

    __device__ __forceinline__ real left(int row, int k) const
    {
        const int output = group * conv.group_outputs() + k / conv.taps();
        return weight[(output * rows() + row) * conv.taps() + k % conv.taps()];
    }
    __device__ __forceinline__ Place place(int column) const { return Cell(column, conv.height, conv.width); }
    __device__ __forceinline__ real right(int k, const Place& place) const
    {
        const Cell tap(k, conv.kernel_height, conv.kernel_width);  // (o, i, j)
        const int p = reading_position(
            place.row, tap.row, conv.top, conv.dilation_height, conv.stride_height, conv.rows);
        const int q = reading_position(
            place.column, tap.column, conv.left, conv.dilation_width, conv.stride_width, conv.columns);
        if (p < 0 || q < 0)
            return 0;
        const int output = place.first * conv.outputs + group * conv.group_outputs() + tap.first;
        return g[(output * conv.rows + p) * conv.columns + q];
    }
    __device__ __forceinline__ int at(int row, const Place& place) const
    {
        const int channel = place.first * conv.channels + group * rows() + row;
        return (channel * conv.height + place.row) * conv.width + place.column;
    }
};

struct WeightGradient {
    using Place = Cell;  // (c, i, j)

    const Convolution& conv;
    const real *g, *x;
    int group;

    __device__ __forceinline__ int rows() const { return conv.group_outputs(); }
    __device__ __forceinline__ int depth() const { return conv.images * conv.positions(); }
    __device__ __forceinline__ int columns() const { return conv.group_channels() * conv.taps(); }

    __device__ __forceinline__ real left(int row, int k) const
    {
        const int output = k / conv.positions() * conv.outputs + group * rows() + row;
        return g[output * conv.positions() + k % conv.positions()];
    }
    __device__ __forceinline__ Place place(int column) const
    {
        return Cell(column, conv.kernel_height, conv.kernel_width);
    }
    __device__ __forceinline__ real right(int k, const Place& place) const
    {
        const Cell position(k, conv.rows, conv.columns);  // (n, p, q)
        const int channel = group * conv.group_channels() + place.first;
        return read_window(
            conv, x, position.first, channel, position.row, position.column, place.row, place.column);
    }
    __device__ __forceinline__ int at(int row, const Place& place) const
    {
        const int channel = (group * rows() + row) * conv.group_channels() + place.first;
        return (channel * conv.kernel_height + place.row) * conv.kernel_width + place.column;
    }
};
