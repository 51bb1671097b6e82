"""Layers for n independent networks of one architecture, trained side by side on one CPU thread.

Every tensor leads with the net axis n:   weights (n, *shape),  activations (n, b, ...).
Convolutional activations have the logical shape (n, b, c, h, w) but are *batch-last* in memory,
(n, c, h, w, b): every elementwise pass, im2col run and matrix row is then long and contiguous.
Functions accept any strides and keep the fast ones by themselves; `flatten(2)` stays a view.

All products are torch.bmm over the net axis, so a net never sees its neighbours (no NaN leaks).
MKL's small bmm is fast (60-85 GF/s here) unless the innermost dimension of the *result* is below
16, when it falls to about 10 GF/s; `bmm` below picks the orientation that avoids that.

Each layer is a torch.autograd.Function (composes with autograd).  `Tape` runs the same Functions
without the autograd engine, for straight chains and the least overhead.
"""
import ctypes

import torch
import torch.nn.functional as F
from torch.autograd import Function

VEC = 16  # float32 lanes of an AVX-512 register


def tune_process():
    """Call once per worker: one thread, no denormals, and a malloc that keeps its pages."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD (32 MiB is the most it takes): no mmap/munmap (page faults) per large tensor
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: never give the heap's top back
    except (OSError, AttributeError):
        pass


# ---------------------------------------------------------------------------------------- products


def bmm(a, b):
    """a @ b, the result laid out so that its innermost dimension is wide."""
    m, p = a.shape[1], b.shape[2]
    if p % VEC and (m % VEC == 0 or p < VEC <= m):
        return torch.bmm(b.mT, a.mT).mT
    return torch.bmm(a, b)


# ------------------------------------------------------------------------------------------ linear


class Linear(Function):
    @staticmethod
    def forward(ctx, x, w, b):  # x (n,b,i), w (n,o,i), b (n,o) or None
        ctx.save_for_backward(x, w)
        o, batch = w.shape[1], x.shape[1]
        if o % VEC and batch % VEC == 0:  # feature-major result, (n,o,b) in memory
            y = torch.bmm(w, x.mT) if b is None else torch.baddbmm(b.unsqueeze(2), w, x.mT)
            return y.mT
        if o % VEC:  # neither way is wide: pad the outputs (a small copy)
            w = F.pad(w, (0, 0, 0, -o % VEC))
            y = torch.bmm(x, w.mT)[:, :, :o]
            return y if b is None else y.add_(b.unsqueeze(1))
        return torch.bmm(x, w.mT) if b is None else torch.baddbmm(b.unsqueeze(1), x, w.mT)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        gx = None
        if ctx.needs_input_grad[0]:  # in x's own memory layout: mixed layouts make later passes slow
            gx = torch.bmm(g, w) if x.stride(2) == 1 else torch.bmm(w.mT, g.mT).mT
        gw = bmm(g.mT, x)
        gb = g.sum(1) if ctx.needs_input_grad[2] else None
        return gx, gw, gb


def linear(x, w, b=None):
    return Linear.apply(x, w, b)


# ------------------------------------------------------------------------------------- activations


class ReLU(Function):
    """In place: give it a tensor that nothing else keeps (the output of linear, conv2d, a pool)."""

    @staticmethod
    def forward(ctx, x):
        y = x.detach().relu_()  # shares x's version counter: autograd still notices misuse
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(g, y, 0.0)


class Tanh(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.detach().tanh_()  # shares x's version counter: autograd still notices misuse
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return torch.ops.aten.tanh_backward(g, ctx.saved_tensors[0])


class GELU(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.gelu(x)

    @staticmethod
    def backward(ctx, g):
        return torch.ops.aten.gelu_backward(g, ctx.saved_tensors[0])


class Flatten(Function):
    """(n,b,...) -> (n,b,f); a view of batch-last memory."""

    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.flatten(2)

    @staticmethod
    def backward(ctx, g):
        return g.unflatten(2, ctx.shape[2:])


relu, tanh, gelu, flatten = ReLU.apply, Tanh.apply, GELU.apply, Flatten.apply


# ------------------------------------------------------------------------------------- convolution


def batch_last(x):
    """(n,b,c,h,w) in any memory -> (n,c,h,w,b) contiguous (free if it already is)."""
    return x.permute(0, 2, 3, 4, 1).contiguous()


def logical(x):
    """(n,c,h,w,b) -> the (n,b,c,h,w) view of it."""
    return x.permute(0, 4, 1, 2, 3)


def im2col(x, kh, kw, stride):
    """(n,c,h,w,b) -> (n, c*kh*kw, oh*ow*b); a copy in runs of ow*b floats when stride is 1."""
    n, c, h, w, b = x.shape
    if kh == kw == stride == 1:
        return x.reshape(n, c, h * w * b)
    oh, ow = (h - kh) // stride + 1, (w - kw) // stride + 1
    sn, sc, sh, sw, sb = x.stride()
    col = x.as_strided((n, c, kh, kw, oh, ow, b), (sn, sc, sh, sw, sh * stride, sw * stride, sb),
                       x.storage_offset())
    return col.reshape(n, c * kh * kw, oh * ow * b)


def col2im(col, shape, kh, kw, stride):
    """The adjoint of im2col: kh*kw strided adds."""
    n, c, h, w, b = shape
    if kh == kw == stride == 1:
        return col.view(shape)
    oh, ow = (h - kh) // stride + 1, (w - kw) // stride + 1
    col = col.view(n, c, kh, kw, oh, ow, b)
    x = col.new_zeros(shape)
    for i in range(kh):
        for j in range(kw):
            x[:, :, i:i + stride * oh:stride, j:j + stride * ow:stride] += col[:, :, i, j]
    return x


class Conv(Function):
    """x (n,c,h,w,b) batch-last, w (n,o,c,kh,kw), bias (n,o) or None -> (n,o,oh,ow,b)."""

    @staticmethod
    def forward(ctx, x, w, bias, stride):
        n, o, c, kh, kw = w.shape
        oh, ow = (x.shape[2] - kh) // stride + 1, (x.shape[3] - kw) // stride + 1
        col = im2col(x, kh, kw, stride)
        ctx.save_for_backward(col, w)
        ctx.stride, ctx.xshape = stride, x.shape
        w = w.reshape(n, o, -1)
        y = torch.bmm(w, col) if bias is None else torch.baddbmm(bias.unsqueeze(2), w, col)
        return y.view(n, o, oh, ow, -1)

    @staticmethod
    def backward(ctx, g):
        col, w = ctx.saved_tensors
        n, o, c, kh, kw = w.shape
        g = g.reshape(n, o, -1)
        gx = gb = None
        if ctx.needs_input_grad[0]:
            gx = col2im(torch.bmm(w.reshape(n, o, -1).mT, g), ctx.xshape, kh, kw, ctx.stride)
        gw = bmm(g, col.mT).reshape(w.shape)
        if ctx.needs_input_grad[2]:
            gb = g.sum(2)
        return gx, gw, gb, None


class ToBatchLast(Function):
    """(n,b,c,h,w) in any memory -> (n,c,h,w,b) contiguous, zero-padded."""

    @staticmethod
    def forward(ctx, x, padding):
        ctx.padding = p = padding
        if not p:
            return batch_last(x)
        n, b, c, h, w = x.shape
        out = x.new_zeros(n, c, h + 2 * p, w + 2 * p, b)
        out[:, :, p:p + h, p:p + w] = x.permute(0, 2, 3, 4, 1)
        return out

    @staticmethod
    def backward(ctx, g):
        p = ctx.padding
        if p:
            g = g[:, :, p:-p, p:-p]
        return logical(g), None


def conv2d(x, w, bias=None, stride=1, padding=0):
    """x (n,b,c,h,w), w (n,o,c,kh,kw), bias (n,o) -> (n,b,o,oh,ow)."""
    return logical(Conv.apply(ToBatchLast.apply(x, padding), w, bias, stride))


# ------------------------------------------ convolution + 2x2 max-pool, blocked (the fast path)
# A stride-1 convolution followed by a 2x2 pool is computed on the space-to-depth image: each 2x2
# cell of pixels becomes 4 channels, each 2x2 block of outputs 4 output channels, and the k x k
# kernel a ceil((k+1)/2)-cell kernel with zeros in it.  That costs ((k+1)/k)^2 of the arithmetic but
# needs 2.8x (k=5) less im2col memory, feeds bmm 4 times the rows (wide enough to be fast), and the
# pool becomes the maximum of four contiguous slabs.


class SpaceToDepth(Function):
    """(n,b,c,h,w) in any memory -> (n, c*2*2, H, W, b), zero-padded to 2H x 2W."""

    @staticmethod
    def forward(ctx, x, padding, H, W):
        n, b, c, h, w = x.shape
        p = padding
        hh, ww = min(h, 2 * H - p), min(w, 2 * W - p)  # what a pool of an odd size never sees is cut
        ctx.info = p, h, w, hh, ww
        x = x[:, :, :, :hh, :ww].permute(0, 2, 3, 4, 1)
        if p or hh < 2 * H or ww < 2 * W:
            padded = x.new_zeros(n, c, 2 * H, 2 * W, b)
            padded[:, :, p:p + hh, p:p + ww] = x
            x = padded
        x = x.unflatten(3, (W, 2)).unflatten(2, (H, 2))  # n c H 2 W 2 b
        return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(n, 4 * c, H, W, b)  # n c 2 2 H W b

    @staticmethod
    def backward(ctx, g):
        p, h, w, hh, ww = ctx.info
        n, c4, H, W, b = g.shape
        g = g.view(n, c4 // 4, 2, 2, H, W, b).permute(0, 1, 4, 2, 5, 3, 6)
        g = g.reshape(n, c4 // 4, 2 * H, 2 * W, b)
        if (2 * H, 2 * W) != (h, w):
            g = g[:, :, p:p + hh, p:p + ww]
            if (hh, ww) != (h, w):
                g = F.pad(g, (0, 0, 0, w - ww, 0, h - hh))
        return logical(g), None, None, None


def block_map(kh, kw, cache={}):
    """The 0/1 matrix (kh*kw, 4*4*Th*Tw) that puts a kernel at each of 4 offsets in its cells."""
    if (kh, kw) not in cache:
        th, tw = kh // 2 + 1, kw // 2 + 1
        m = torch.zeros(kh, kw, 2, 2, 2 * th, 2 * tw)
        for y in range(kh):
            for x in range(kw):
                for i in range(2):
                    for j in range(2):
                        m[y, x, i, j, i + y, j + x] = 1
        m = m.view(kh * kw, 4, th, 2, tw, 2).permute(0, 1, 3, 5, 2, 4)
        cache[kh, kw] = m.reshape(kh * kw, -1).contiguous()
    return cache[kh, kw]


class BlockWeight(Function):
    """(n,o,c,kh,kw) -> (n, 4*o, 4*c, Th, Tw): the kernel on cells, once for each of 4 offsets."""

    @staticmethod
    def forward(ctx, w):
        n, o, c, kh, kw = ctx.shape = w.shape
        m = block_map(kh, kw)
        out = torch.mm(w.reshape(-1, kh * kw), m).view(n, o, c, 4, m.shape[1] // 4)
        return out.permute(0, 3, 1, 2, 4).reshape(n, 4 * o, 4 * c, kh // 2 + 1, kw // 2 + 1)

    @staticmethod
    def backward(ctx, g):
        n, o, c, kh, kw = ctx.shape
        m = block_map(kh, kw)
        g = g.reshape(n, 4, o, c, m.shape[1] // 4).permute(0, 2, 3, 1, 4).reshape(-1, m.shape[1])
        return torch.mm(g, m.t()).view(n, o, c, kh, kw)


class SlabPool(Function):
    """(n, 2*2*o, H, W, b) -> (n,b,o,H,W): maximum over the four offsets, plus the bias (n,o).

    The gradient goes to the first maximum, as torch's does; differences and threshold_backward do
    the routing because boolean masks are slow."""

    @staticmethod
    def forward(ctx, y, bias):
        n, o4, H, W, b = y.shape
        y = y.view(n, 2, 2, (o4 // 4) * H * W * b)
        d1 = y[:, :, 1] - y[:, :, 0]
        m = torch.maximum(y[:, :, 0], y[:, :, 1])
        d0 = m[:, 1] - m[:, 0]
        out = torch.maximum(m[:, 0], m[:, 1]).view(n, o4 // 4, H, W, b)
        ctx.save_for_backward(d0, d1)
        if bias is not None:
            out += bias.view(n, -1, 1, 1, 1)
        return logical(out)

    @staticmethod
    def backward(ctx, g):
        d0, d1 = ctx.saved_tensors
        route = torch.ops.aten.threshold_backward.grad_input
        n, b, o, H, W = g.shape
        g = batch_last(g)
        gb = g.view(n, o, -1).sum(2) if ctx.needs_input_grad[1] else None
        g = g.view(n, -1)
        half = g.new_empty(n, 2, g.shape[1])
        route(g, d0, 0.0, grad_input=half[:, 1])
        torch.sub(g, half[:, 1], out=half[:, 0])
        out = g.new_empty(n, 2, 2, g.shape[1])
        route(half, d1, 0.0, grad_input=out[:, :, 1])
        torch.sub(half, out[:, :, 1], out=out[:, :, 0])
        return out.view(n, 4 * o, H, W, b), gb


def cells(x, w, padding):
    """The number of 2x2 cells of the padded image that the pooled output reads."""
    oh, ow = x.shape[3] + 2 * padding - w.shape[3] + 1, x.shape[4] + 2 * padding - w.shape[4] + 1
    return oh // 2 + w.shape[3] // 2, ow // 2 + w.shape[4] // 2


def conv2d_max_pool2d(x, w, bias=None, padding=0):
    """max_pool2d(conv2d(x, w, bias, 1, padding), 2) in one go (the order with a relu is free)."""
    x = SpaceToDepth.apply(x, padding, *cells(x, w, padding))
    return SlabPool.apply(Conv.apply(x, BlockWeight.apply(w), None, 1), bias)


class MaxPool(Function):
    """kernel = stride = 2, x (n,b,c,h,w); for a pool that does not follow a stride-1 convolution."""

    @staticmethod
    def forward(ctx, x):
        n, b, c, h, w = ctx.shape = x.shape
        x = batch_last(x)[:, :, :h // 2 * 2, :w // 2 * 2].unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
        top, bottom = x[:, :, :, 0], x[:, :, :, 1]
        d1 = torch.stack((top[:, :, :, :, 1] - top[:, :, :, :, 0],
                          bottom[:, :, :, :, 1] - bottom[:, :, :, :, 0]), 1)
        m = torch.stack((torch.maximum(top[:, :, :, :, 0], top[:, :, :, :, 1]),
                         torch.maximum(bottom[:, :, :, :, 0], bottom[:, :, :, :, 1])), 1)
        ctx.save_for_backward(m[:, 1] - m[:, 0], d1)
        return logical(torch.maximum(m[:, 0], m[:, 1]))

    @staticmethod
    def backward(ctx, g):
        d0, d1 = ctx.saved_tensors
        route = torch.ops.aten.threshold_backward
        n, b, c, h, w = ctx.shape
        g = batch_last(g)
        low = route(g, d0, 0.0)
        half = torch.stack((g - low, low), 1)
        right = route(half, d1, 0.0)
        out = g.new_zeros(n, c, h, w, b)
        view = out[:, :, :h // 2 * 2, :w // 2 * 2].unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
        view[:, :, :, :, :, 1] = right.permute(0, 2, 3, 1, 4, 5)
        view[:, :, :, :, :, 0] = (half - right).permute(0, 2, 3, 1, 4, 5)
        return logical(out)


max_pool2d = MaxPool.apply


# -------------------------------------------------------------------------------------------- loss


class CrossEntropy(Function):
    """logits (n,b,c), targets (n,b) -> (n,) mean losses.  Works class-first, (c, n*b): softmax over
    the first axis is vectorised over all the samples; over a last axis of 10 it is 20x slower."""

    @staticmethod
    def forward(ctx, logits, targets):
        logp = torch.log_softmax(logits.permute(2, 0, 1).contiguous(), 0)
        targets = targets.unsqueeze(0)
        ctx.save_for_backward(logp, targets)
        return logp.gather(0, targets).squeeze(0).mean(1).neg_()

    @staticmethod
    def backward(ctx, g):
        logp, targets = ctx.saved_tensors
        g = (g / targets.shape[2]).view(1, -1, 1)
        out = logp.exp()
        out.scatter_add_(0, targets, out.new_full((1, 1, 1), -1.0).expand(targets.shape))
        out *= g
        return out.permute(1, 2, 0), None


cross_entropy = CrossEntropy.apply


# ---------------------------------------------------------------------- parameters and optimiser


class Params:
    """All parameters of n nets in one (n, d) buffer; `self.tensors` are its views (n, *shape)."""

    def __init__(self, tensors):
        n = tensors[0].shape[0]
        self.data = torch.cat([t.detach().reshape(n, -1) for t in tensors], 1)
        self.grad = torch.empty_like(self.data)
        self.tensors, at = [], 0
        for t in tensors:
            size = t[0].numel()
            self.tensors.append(self.data[:, at:at + size].view(t.shape).requires_grad_())
            at += size

    def set_grads(self, grads):
        n = len(self.data)
        torch.cat([g.reshape(n, -1) for g in grads], 1, out=self.grad)


class SGD:
    """torch.optim.SGD (momentum, weight decay) with one lr, momentum, weight decay per net."""

    def __init__(self, params, lr, momentum, weight_decay):
        self.params, self.velocity = params, torch.zeros_like(params.data)
        self.lr, self.momentum, self.weight_decay = (
            torch.as_tensor(v, dtype=torch.float32).expand(len(params.data)).reshape(-1, 1).clone()
            for v in (lr, momentum, weight_decay))

    @torch.no_grad()
    def step(self):
        p, g, v = self.params.data, self.params.grad, self.velocity
        torch.addcmul(g, p, self.weight_decay, out=g)
        torch.addcmul(g, v, self.momentum, out=v)
        p.addcmul_(v, self.lr, value=-1)


# -------------------------------------------------------------------------------------------- tape


class Context:
    """Stands in for autograd's ctx when a Function is called directly."""

    def save_for_backward(self, *tensors):
        self.saved_tensors = tensors


class Tape:
    """Runs a chain of Functions and its backward pass without the autograd engine.

        tape = Tape(); x = tape(Linear, x, w, b); x = tape(ReLU, x); ...
        grads = tape.gradients(params)

    Each Function's first argument is the chain's tensor; the first Function of the chain needs no
    input gradient.  An argument given as a `Tape.Side` (see `side`) is computed by a Function from
    parameters, as BlockWeight is."""

    def __init__(self):
        self.nodes = []

    def __call__(self, function, x, *args):
        ctx = Context()
        needs = self.nodes and self.nodes[-1][3]
        wants = [isinstance(a, torch.Tensor) and (a.requires_grad or hasattr(a, "side")) for a in args]
        ctx.needs_input_grad = (bool(needs), *wants)
        with torch.no_grad():
            y = function.forward(ctx, x, *args)
        self.nodes.append((function, ctx, args, bool(needs or any(wants))))
        return y

    def side(self, function, w):
        ctx = Context()
        ctx.needs_input_grad = (True,)
        with torch.no_grad():
            y = function.forward(ctx, w)
        y.side = function, ctx, w
        return y

    @torch.no_grad()
    def gradients(self, tensors, g):
        grads = {}
        for function, ctx, args, needs in reversed(self.nodes):
            if not needs:
                break
            out = function.backward(ctx, g)
            if not isinstance(out, tuple):
                out = (out,)
            g = out[0]
            for a, ga in zip(args, out[1:]):
                if ga is None:
                    continue
                if hasattr(a, "side"):
                    f, c, a = a.side
                    ga = f.backward(c, ga)
                grads[a] = ga
        self.nodes.clear()
        return [grads[t] for t in tensors]
