"""What networks look at: Grad-CAM, attention maps, faithfulness."""
