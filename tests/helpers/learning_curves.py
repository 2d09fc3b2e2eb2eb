"""A learning curve as `tfcharlm train` writes it."""

CURVE = (
    "step,seconds,tokens,learning_rate,loss,bits_per_character,val_loss,val_bits_per_character\n"
    "5,1.5,1000000,0.01,2.5,3.6,2.4,3.5\n9,3.0,2500000,0.005,2.0,2.9,2.1,3.0\n"
)
