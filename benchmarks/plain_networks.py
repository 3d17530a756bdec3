"""Networks and attention as a Keras user writes them by hand, to measure this project's against."""


def plain_resnet20(attend=None, input_shape=(32, 32, 3), classes=10):
    """ResNet20 for CIFAR, from raw pixels to logits, with attention before each addition."""
    from keras import Input, Model, layers

    image = Input(input_shape)
    x = layers.ReLU()(_conv_norm(layers.Rescaling(1 / 255)(image), 16))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            y = layers.ReLU()(_conv_norm(x, filters, strides=strides))
            y = _conv_norm(y, filters)
            if attend is not None:
                y = attend(y)
            if strides == 2:
                x = _conv_norm(x, filters, size=1, strides=2)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(image, layers.Dense(classes)(x))


def plain_resnet50(attend=None, input_shape=(224, 224, 3), classes=1000):
    """ResNet50, from raw pixels to logits, with attention before each addition."""
    from keras import Input, Model, layers

    image = Input(input_shape)
    x = layers.ReLU()(_conv_norm(layers.Rescaling(1 / 255)(image), 64, size=7, strides=2))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            strides = 2 if filters > 64 and block == 0 else 1
            y = layers.ReLU()(_conv_norm(x, filters, size=1))
            y = layers.ReLU()(_conv_norm(y, filters, strides=strides))
            y = _conv_norm(y, 4 * filters, size=1)
            if attend is not None:
                y = attend(y)
            if block == 0:
                x = _conv_norm(x, 4 * filters, size=1, strides=strides)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(image, layers.Dense(classes)(x))


def _conv_norm(x, filters, size=3, strides=1):
    from keras import layers

    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def plain_se(x, ratio=8):
    """SE as CBAM-keras has it: a chain of Keras's layers."""
    from keras import layers

    channels = x.shape[-1]
    gate = layers.Reshape((1, 1, channels))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Dense(channels // ratio, activation="relu")(gate)
    return layers.Multiply()([x, layers.Dense(channels, activation="sigmoid")(gate)])


def plain_cbam(x, ratio=8, kernel_size=7):
    """CBAM as CBAM-keras has it: a chain of Keras's layers."""
    from keras import layers, ops

    channels = x.shape[-1]
    first = layers.Dense(channels // ratio, activation="relu")
    second = layers.Dense(channels)
    pooled = (layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x))
    pooled = [second(first(layers.Reshape((1, 1, channels))(p))) for p in pooled]
    x = layers.Multiply()([x, layers.Activation("sigmoid")(layers.Add()(pooled))])
    maps = [f(x, axis=-1, keepdims=True) for f in (ops.mean, ops.max)]
    gate = layers.Conv2D(1, kernel_size, padding="same", use_bias=False, activation="sigmoid")
    return layers.Multiply()([x, gate(layers.Concatenate()(maps))])
